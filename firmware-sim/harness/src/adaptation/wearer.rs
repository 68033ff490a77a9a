//! The watch and the person that are embedded in the program.

use bissl_firmware::{
    Augmentation, Blocked, Configuration, FlashFrames, Lengths, Settings, Stage, Tick, WatchDevice,
};
use serde::Serialize;

use super::{AlignedImage, Surroundings, correct, run_to};
use crate::adaptation::extract::Extract;
use crate::{Path, SimulatedDevice};

static IMAGE: &[u8] = include_bytes!("../../data/watch-9.bin");
static WINDOWS: &[u8] = include_bytes!("../../data/watch-9-windows.bin");

/// How two views of a window of a watch's samples differ: in the gains of the two sensors, in
/// noise, and in where the window begins.
pub const WATCH_VIEWS: Augmentation =
    Augmentation { gain: 0.3, gain_channels: 3, noise: 0.15, shift: [0, 12] };

/// The result of training the embedded watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wearer {
    /// Held-out windows that a head on the network as it came classifies correctly.
    pub before: u32,
    /// The same number after the bilevel stage and fine-tuning.
    pub aligned: u32,
    /// Number of held-out windows.
    pub held_out: u32,
    /// Ticks of the device.
    pub ticks: u64,
    /// FNV-1a 64 of the final state.
    pub hash: u64,
}

/// The frames that the watch finds on its wearer.
///
/// # Errors
/// An embedded file is malformed.
pub fn wearer() -> anyhow::Result<Surroundings<i16>> {
    let extract = Extract::read(WINDOWS);
    let Some(Extract { unlabelled, labelled, labels, held_out, held_out_labels }) = extract else {
        anyhow::bail!("the embedded windows have another length than they say");
    };
    Ok(Surroundings { unlabelled, labelled, labels, held_out, held_out_labels })
}

/// Aligns the embedded network with the embedded person.
///
/// # Errors
/// The device stops with a fault, or an embedded file is malformed.
pub fn align_wearer(seed: u64, lengths: Lengths) -> anyhow::Result<Wearer> {
    let surroundings = wearer()?;
    let file = AlignedImage::new(IMAGE, "the embedded image")?;
    let image = file.read(&WatchDevice::MODEL)?;
    let scales = image.scales();
    let frames = FlashFrames {
        unlabelled: &surroundings.unlabelled[..],
        labelled: &surroundings.labelled[..],
        labels: &surroundings.labels,
        floats: WatchDevice::MODEL.input.floats(),
        scales: &scales[..usize::from(WatchDevice::MODEL.input.channels)],
        weights: image.weights(),
    };
    let settings = Settings { views: WATCH_VIEWS, ..Settings::new(seed, lengths)?.pretrained() };
    let mut device = SimulatedDevice::<WatchDevice, _, _>::new(frames, Blocked, settings);
    run_to(&mut device, Some(Stage::WarmUp), Path::Aligned)?;
    let before = correct(&mut device, &surroundings, Path::Aligned)?;
    while device.tick()? != Tick::Idle {}
    let aligned = correct(&mut device, &surroundings, Path::Aligned)?;
    let (ticks, hash) = (device.device.ticks(), device.device.hash()?);
    let held_out = surroundings.held_out_labels.len() as u32;
    Ok(Wearer { before, aligned, held_out, ticks, hash })
}
