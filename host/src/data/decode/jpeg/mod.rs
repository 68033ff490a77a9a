//! JPEG, baseline and progressive: the pixels of libjpeg, or a reason why there are none.
//!
//! Two decoders share the work. zune-jpeg, which `image` uses itself, is fast, but misreads some
//! layouts, and fills what is missing with grey. So the file's segments and its entropy-coded data
//! are checked here first, and it is given the common layouts alone, where it is within 3 of 255 of
//! libjpeg. All others go through the decoder of this folder, which has libjpeg's arithmetic.

mod bits;
mod coefficients;
mod colours;
mod header;
mod samples;

use image::RgbImage;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::exif;
use super::limits::{ImageSettings, within_limits};
use bits::Damage;
use header::{Colour, Frame, Scan, Segments};

/// Pixels as they are stored, and how they are to be turned.
///
/// Grey becomes RGB. Three components are RGB or YCbCr by libjpeg's rules: JFIF's marker, then
/// Adobe's, then the components' names. Four are CMYK, or YCCK where Adobe's marker says so, in
/// Adobe's convention: 255 is no ink. Pillow reads every CMYK file so, with that marker or without;
/// profiles are not looked at.
///
/// # Errors
/// Words for what was found and what was expected.
pub(super) fn decode(
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<(RgbImage, Orientation), String> {
    let mut segments = Segments::new(bytes);
    let Some(scan) = segments.next_scan()? else {
        return Err("a JPEG without a scan, expected one".into());
    };
    let frame = segments.frame.clone().ok_or("a JPEG without a frame, expected one")?;
    let size = (frame.width as u32, frame.height as u32);
    let stored = size.0 as u64 * u64::from(size.1) * frame.components.len() as u64;
    within_limits(size, stored, settings)?;
    let orientation = segments.exif.map_or(Orientation::NoTransforms, exif::orientation);
    let colour = segments.colour();
    if is_common(&frame, &scan, &segments) {
        check_common(&mut segments, &frame, &scan)?;
        if let Some(image) = decode_common(bytes, &frame, colour)? {
            return Ok((image, orientation));
        }
        // From the start again.
        segments = Segments::new(bytes);
        segments.next_scan()?;
    }
    let planes = coefficients::decode(&mut segments, scan)?;
    let image = colours::picture(&frame, planes, colour);
    Ok((image, orientation))
}

/// Whether a file is of a layout that zune-jpeg reads as libjpeg does: sequential, one scan, tables
/// of 8 bits, and chroma as large as luma, or half as wide, or half as wide and high.
fn is_common(frame: &Frame, scan: &Scan, segments: &Segments) -> bool {
    let factors: Vec<(usize, usize)> =
        frame.components.iter().map(|component| (component.across, component.down)).collect();
    let layout = match factors.as_slice() {
        [(1, 1)] => true,
        [(1, 1) | (2, 1) | (2, 2), (1, 1), (1, 1)] => true,
        [(1, 1), (1, 1), (1, 1), (1, 1)] => true,
        _ => false,
    };
    let narrow = |table: &Option<[u16; 64]>| table.is_none_or(|t| t.iter().all(|&v| v < 256));
    layout
        && !frame.progressive
        && scan.coded.len() == frame.components.len()
        && segments.quantisation.iter().all(narrow)
}

/// Whether all blocks of a file with one sequential scan are there, and its end.
///
/// # Errors
/// Damaged or missing data, with the number of the MCU.
fn check_common(segments: &mut Segments, frame: &Frame, scan: &Scan) -> Result<(), String> {
    let most = frame.most();
    let mcus = frame.width.div_ceil(8 * most.0) * frame.height.div_ceil(8 * most.1);
    let mut blocks = Vec::new();
    for coded in &scan.coded {
        let component = frame.components[coded.component];
        if segments.quantisation[component.table].is_none() {
            return Err(format!("found no quantisation table {}", component.table));
        }
        let tables = (segments.dc[coded.dc].as_ref(), segments.ac[coded.ac].as_ref());
        let (Some(dc), Some(ac)) = tables else {
            return Err("found no Huffman table for its coefficients".into());
        };
        blocks.extend(std::iter::repeat_n((dc, ac), component.across * component.down));
    }
    let mut bits = segments.bits();
    coefficients::each_mcu(&mut bits, mcus, segments.restart_interval, |bits, _, _| {
        for &(dc, ac) in &blocks {
            bits.skip(dc)?;
            let mut at = 1;
            while at < 64 {
                match bits.skip(ac)? {
                    0xF0 => at += 16,
                    symbol if symbol & 15 == 0 => break,
                    symbol => {
                        at += usize::from(symbol >> 4) + 1;
                        if at > 64 {
                            return Err(Damage::Code);
                        }
                    }
                }
            }
        }
        Ok(())
    })?;
    segments.position = bits.position();
    match segments.next_scan()? {
        None => Ok(()),
        Some(_) => Err("found a second scan of the same components, expected one".into()),
    }
}

/// A checked file of a common layout through zune-jpeg; `None` if that takes the components for
/// other colours.
fn decode_common(bytes: &[u8], frame: &Frame, colour: Colour) -> Result<Option<RgbImage>, String> {
    // The decoder's own limits are wider than any size that the format can state: ours say more.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let expected = match colour {
        Colour::Grey => ColorSpace::Luma,
        Colour::Rgb => ColorSpace::RGB,
        Colour::YCbCr => ColorSpace::YCbCr,
        Colour::Cmyk => ColorSpace::CMYK,
        Colour::Ycck => ColorSpace::YCCK,
    };
    // It refuses some markers that libjpeg skips.
    if decoder.decode_headers().is_err() || decoder.input_colorspace() != Some(expected) {
        return Ok(None);
    }
    let mut pixels = vec![0; frame.width * frame.height * 3];
    decoder.decode_into(&mut pixels).map_err(|error| error.to_string())?;
    Ok(RgbImage::from_raw(frame.width as u32, frame.height as u32, pixels))
}

/// The number of colour components that the frame's header states.
pub(super) fn components(bytes: &[u8]) -> Option<usize> {
    let mut segments = Segments::new(bytes);
    segments.next_scan().ok()?;
    Some(segments.frame?.components.len())
}
