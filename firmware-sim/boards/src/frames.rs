//! The content of the board's flash: the corpora as `build.rs` wrote them, and a network on the
//! smallest boards.

use bissl_firmware::{FlashFrames, ImageError, Scale};

macro_rules! bytes {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

static UNLABELLED: &[u8] = bytes!("unlabelled.bin");
static LABELLED: &[u8] = bytes!("labelled.bin");
static LABELS: &[u8] = bytes!("labels.bin");

/// Full scale is 16.
static SCALES: [Scale; 1] = [Scale { scale: 1.0 / 16.0, offset: 0.0 }];

/// A network that was pretrained elsewhere, aligned so that its words can be read in place.
#[cfg(small)]
mod image {
    #[repr(C, align(4))]
    struct Aligned<const N: usize>([u8; N]);

    const FILE: &[u8] = include_bytes!("../../harness/data/small-digits.bin");
    static IMAGE: Aligned<{ FILE.len() }> =
        Aligned(*include_bytes!("../../harness/data/small-digits.bin"));

    pub fn bytes() -> &'static [u8] {
        &IMAGE.0
    }
}

/// Weights of the network in flash; empty if the device pretrains all of it itself.
///
/// # Errors
/// The image is of another network, or damaged.
#[cfg(small)]
fn weights() -> Result<&'static [f32], ImageError> {
    use bissl_firmware::{Configuration, Image};

    Ok(Image::read(&crate::device::Device::MODEL, image::bytes())?.weights())
}

#[cfg(not(small))]
fn weights() -> Result<&'static [f32], ImageError> {
    Ok(&[])
}

/// The frames in flash, one byte per pixel.
///
/// # Errors
/// The errors of reading the network's image.
pub fn flash() -> Result<FlashFrames<'static, u8>, ImageError> {
    Ok(FlashFrames {
        unlabelled: UNLABELLED,
        labelled: LABELLED,
        labels: LABELS,
        floats: 64,
        scales: &SCALES,
        weights: weights()?,
    })
}
