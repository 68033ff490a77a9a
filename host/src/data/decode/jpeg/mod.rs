//! JPEG, baseline and progressive with Huffman coding: the pixels of libjpeg, or a reason why there
//! are none.
//!
//! Pixels are libjpeg's to the bit: its accurate integer transform, its "fancy" enlargement of
//! chroma, its colour conversion, its rules for which colours the components are. What it warns of
//! and goes on (data that end early or are corrupt, restart markers out of order, scans that leave
//! coefficients incomplete) is an error here: the pixels would be made up.

mod bits;
mod coefficients;
mod colours;
mod header;
mod samples;

use image::RgbImage;
use image::metadata::Orientation;

use super::exif;
use super::limits::{ImageSettings, within_limits};
use header::Segments;

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
    let Some(first) = segments.next_scan()? else {
        return Err("a JPEG without a scan, expected one".into());
    };
    let frame = segments.frame.clone().ok_or("a JPEG without a frame, expected one")?;
    let size = (frame.width as u32, frame.height as u32);
    let stored = size.0 as u64 * u64::from(size.1) * frame.components.len() as u64;
    within_limits(size, stored, settings)?;
    let orientation = segments.exif.map_or(Orientation::NoTransforms, exif::orientation);
    let colour = segments.colour();
    let planes = coefficients::decode(&mut segments, first)?;
    let image = colours::picture(&frame, planes, colour);
    Ok((image, orientation))
}

/// The number of colour components that the frame's header states.
pub(super) fn components(bytes: &[u8]) -> Option<usize> {
    let mut segments = Segments::new(bytes);
    segments.next_scan().ok()?;
    Some(segments.frame?.components.len())
}
