//! Pictures as PNG data URIs.

use image::ExtendedColorType;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use super::{Picture, ReportError};

impl Picture {
    /// The picture as `data:image/png;base64,…`, its pixels unchanged. `place` names it in errors.
    pub(super) fn data_uri(&self, place: &str) -> Result<String, ReportError> {
        let bytes = u128::from(self.width) * u128::from(self.height) * 3;
        if bytes == 0 || self.rgb.len() as u128 != bytes {
            return Err(ReportError::PictureSize {
                place: place.to_owned(),
                width: self.width,
                height: self.height,
                found: self.rgb.len(),
            });
        }
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive)
            .write_image(&self.rgb, self.width, self.height, ExtendedColorType::Rgb8)
            .map_err(|source| ReportError::Encode { place: place.to_owned(), source })?;
        Ok(format!("data:image/png;base64,{}", base64(&png)))
    }
}

/// Base 64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0; 3];
        word[..group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            // One byte fills two digits, two bytes fill three.
            out.push(if place <= group.len() { ALPHABET[digit as usize].into() } else { '=' });
        }
    }
    out
}
