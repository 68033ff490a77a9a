//! The corpora in the board's flash, as `build.rs` wrote them.

use bissl_firmware::{FlashFrames, Scale};

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

/// One byte a pixel.
pub fn flash() -> FlashFrames<'static, u8> {
    FlashFrames {
        unlabelled: UNLABELLED,
        labelled: LABELLED,
        labels: LABELS,
        floats: 64,
        scales: &SCALES,
        weights: &[],
    }
}
