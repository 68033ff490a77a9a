//! One training of the simulated device, against the conventional path.

use bissl_firmware::shape::PIXELS;
use bissl_firmware::{
    Device, Fault, FlashFrames, FrameSource, Kernels, Portable, Settings, Stage, Tick,
};
use serde::Serialize;

use crate::Digits;

/// The device as it is simulated here.
pub type SimulatedDevice<'a> = Device<FlashFrames<'a>, Portable>;

/// Which way from pretraining to fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// Through warm-up and the bilevel stage.
    Aligned,
    /// Straight.
    Conventional,
}

/// How one path ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Held-out pictures classified rightly.
    pub correct: u32,
    /// Held-out pictures.
    pub held_out: u32,
    /// Ticks since the start, pretraining included.
    pub ticks: u64,
    /// FNV-1a 64 of the final state.
    #[serde(serialize_with = "hexadecimal")]
    pub hash: u64,
}

impl Outcome {
    /// Share of held-out pictures classified rightly, in `[0, 1]`.
    pub fn accuracy(&self) -> f64 {
        f64::from(self.correct) / f64::from(self.held_out)
    }
}

/// Both paths from the same pretraining, with the same fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Through the bilevel stage.
    pub aligned: Outcome,
    /// Without it.
    pub conventional: Outcome,
}

/// The device stopped with a fault.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("device stopped at tick {tick} of the {path:?} path: {fault}")]
pub struct Stopped {
    /// On which path.
    pub path: Path,
    /// After so many ticks.
    pub tick: u64,
    /// Why.
    pub fault: Fault,
}

/// Sees every tick; it cannot influence the device.
pub type Observer<'a> = &'a mut dyn FnMut(Path, &Tick);

/// Pretrains once, then goes both ways.
///
/// # Errors
/// The device's fault, with the tick at which it stopped.
pub fn compare(
    digits: &Digits,
    settings: Settings,
    observer: Observer<'_>,
) -> Result<Comparison, Stopped> {
    let mut device = start(digits, settings);
    run_to(&mut device, Some(Stage::Pretrain), Path::Aligned, observer)?;
    let mut conventional = device.clone();
    conventional.skip_alignment();
    let mut finish = |device: &mut SimulatedDevice<'_>, path| {
        run_to(device, None, path, observer)?;
        outcome(device, digits, path)
    };
    Ok(Comparison {
        aligned: finish(&mut device, Path::Aligned)?,
        conventional: finish(&mut conventional, Path::Conventional)?,
    })
}

/// A device over the digits, begun.
pub fn start(digits: &Digits, settings: Settings) -> SimulatedDevice<'_> {
    let mut device = Device::new(digits.flash(), Portable);
    device.begin(settings);
    device
}

/// Ticks until `stage` has ended, or to the end of training.
///
/// # Errors
/// The device's fault, with the tick at which it stopped.
pub fn run_to<S: FrameSource, K: Kernels<f32>>(
    device: &mut Device<S, K>,
    stage: Option<Stage>,
    path: Path,
    observer: Observer<'_>,
) -> Result<(), Stopped> {
    loop {
        let tick = device.tick().map_err(|fault| {
            let tick = device.ticks();
            Stopped { path, tick, fault }
        })?;
        observer(path, &tick);
        match tick {
            Tick::Idle => return Ok(()),
            Tick::Ended(ended) if Some(ended) == stage => return Ok(()),
            _ => {}
        }
    }
}

fn outcome(
    device: &mut SimulatedDevice<'_>,
    digits: &Digits,
    path: Path,
) -> Result<Outcome, Stopped> {
    let mut frame = [0.0; PIXELS];
    let mut correct = 0;
    for (picture, label) in digits.held_out() {
        FlashFrames::scale(picture, &mut frame);
        correct += u32::from(device.classify(&frame) == *label);
    }
    let ticks = device.ticks();
    let hash = device.hash().map_err(|fault| Stopped { path, tick: ticks, fault })?;
    Ok(Outcome { correct, held_out: digits.held_out().len() as u32, ticks, hash })
}

fn hexadecimal<S: serde::Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{hash:016x}"))
}
