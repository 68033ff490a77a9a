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

/// Numbers of a block, in its byte order.
struct Numbers<'a> {
    block: &'a [u8],
    big: bool,
}

impl<'a> Numbers<'a> {
    fn new(block: &'a [u8]) -> Option<Self> {
        match block.get(..4)? {
            b"II*\0" => Some(Self { block, big: false }),
            b"MM\0*" => Some(Self { block, big: true }),
            _ => None,
        }
    }

    fn short(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 2] = self.block.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }.into())
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.block.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Where the entries of the first directory lie, each of 12 bytes: tag, type, count, value.
    fn entries(&self) -> Option<impl Iterator<Item = usize> + use<>> {
        let directory = self.long(4)? as usize;
        let count = self.short(directory)? as usize;
        let first = directory.checked_add(2)?;
        Some((0..count).map_while(move |number| first.checked_add(12 * number)))
    }
}

/// The value of an entry that is one number of 16 or 32 bits.
pub(super) fn entry(block: &[u8], tag: u32) -> Option<u32> {
    let numbers = Numbers::new(block)?;
    for at in numbers.entries()? {
        if numbers.short(at)? != tag {
            continue;
        }
        return match (numbers.short(at + 2)?, numbers.long(at + 4)?) {
            (3, 1) => numbers.short(at + 8),
            (4, 1) => numbers.long(at + 8),
            _ => None,
        };
    }
    None
}

/// Whether the values of all entries of the first directory can lie in the block.
pub(super) fn values_fit(block: &[u8]) -> bool {
    let fits = |numbers: &Numbers, at: usize| {
        let size = match numbers.short(at + 2)? {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        };
        Some(u64::from(numbers.long(at + 4)?) * size <= block.len() as u64)
    };
    Numbers::new(block).is_some_and(|numbers| {
        let entries = numbers.entries();
        entries.is_some_and(|mut entries| entries.all(|at| fits(&numbers, at) == Some(true)))
    })
}
