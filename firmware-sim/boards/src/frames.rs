//! What is in the board's flash: the corpora, as `build.rs` wrote them, and on the smallest boards
//! a network.

use bissl_firmware::{FlashFrames, ImageError, Scale};

macro_rules! bytes {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

static UNLABELLED: &[u8] = bytes!("unlabelled.bin");
static LABELLED: &[u8] = bytes!("labelled.bin");
static LABELS: &[u8] = bytes!("labels.bin");

/// 16 is full scale.
static SCALES: [Scale; 1] = [Scale { scale: 1.0 / 16.0, offset: 0.0 }];

/// A network that was pretrained elsewhere, where its words can be read.
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

/// Weights of the network in flash; none where the device pretrains all of it itself.
///
/// # Errors
/// An image of another network, or a damaged one.
#[cfg(small)]
fn weights() -> Result<&'static [f32], ImageError> {
    use bissl_firmware::{Configuration, Image};

    Ok(Image::read(&crate::device::Device::MODEL, image::bytes())?.weights())
}

#[cfg(not(small))]
fn weights() -> Result<&'static [f32], ImageError> {
    Ok(&[])
}

/// One byte a pixel.
///
/// # Errors
/// Those of the network's image.
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
