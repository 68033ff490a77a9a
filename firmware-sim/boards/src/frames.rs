//! The corpora in the board's flash, as `build.rs` wrote them.

use bissl_firmware::FlashFrames;
use bissl_firmware::shape::PIXELS;

macro_rules! bytes {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

static UNLABELLED: &[u8] = bytes!("unlabelled.bin");
static LABELLED: &[u8] = bytes!("labelled.bin");
static LABELS: &[u8] = bytes!("labels.bin");

/// One byte a pixel.
pub fn flash() -> FlashFrames<'static> {
    let (unlabelled, _) = UNLABELLED.as_chunks::<PIXELS>();
    let (labelled, _) = LABELLED.as_chunks::<PIXELS>();
    FlashFrames { unlabelled, labelled, labels: LABELS }
}
