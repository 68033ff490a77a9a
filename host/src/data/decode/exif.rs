//! Entries of the first directory of an EXIF block, or of a TIFF file, which has the same form.

use image::metadata::Orientation;

/// Tag of the orientation.
const ORIENTATION: u32 = 0x0112;

/// The orientation in a block that begins with a TIFF header; none where the block is broken, says
/// nothing, or says anything but 1 to 8 in a number of 16 or 32 bits.
pub(super) fn orientation(block: &[u8]) -> Orientation {
    entry(block, ORIENTATION)
        .and_then(|value| value.try_into().ok())
        .and_then(Orientation::from_exif)
        .unwrap_or(Orientation::NoTransforms)
}

/// The value of an entry that is one number of 16 or 32 bits.
pub(super) fn entry(block: &[u8], tag: u32) -> Option<u32> {
    let big = match block.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let short = |at: usize| -> Option<u32> {
        let bytes: [u8; 2] = block.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }.into())
    };
    let long = |at: usize| -> Option<u32> {
        let bytes: [u8; 4] = block.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    for number in 0..short(directory)? as usize {
        let at = directory.checked_add(2 + 12 * number)?;
        if short(at)? != tag {
            continue;
        }
        return match (short(at + 2)?, long(at + 4)?) {
            (3, 1) => short(at + 8),
            (4, 1) => long(at + 8),
            _ => None,
        };
    }
    None
}
