//! One training of the simulated device, against the conventional path.

use bissl_firmware::{
    Compact, Configuration, Fault, FlashFrames, FrameSource, Kernels, Program, Settings, Stage,
    Tick,
};
use serde::Serialize;

use crate::Digits;
use crate::digits::PIXELS;

/// A device with what it is lent: frames and kernels.
#[derive(Clone, Debug)]
pub struct SimulatedDevice<C: Configuration, S, K> {
    /// The whole state.
    pub device: Program<C>,
    /// Where its frames come from.
    pub frames: S,
    /// What multiplies its matrices.
    pub kernels: K,
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> SimulatedDevice<C, S, K> {
    /// A device that has begun.
    pub fn new(frames: S, kernels: K, settings: Settings<C::Solver>) -> Self {
        let mut device = Program::new();
        device.begin(settings);
        Self { device, frames, kernels }
    }

    /// [`Program::tick`].
    ///
    /// # Errors
    /// The device's fault.
    pub fn tick(&mut self) -> Result<Tick, Fault> {
        self.device.tick(&self.frames, &mut self.kernels)
    }
}

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
pub fn compare<C: Configuration>(
    digits: &Digits,
    settings: Settings<C::Solver>,
    observer: Observer<'_>,
) -> Result<Comparison, Stopped> {
    compare_with::<C, _>(digits, Compact, settings, observer)
}

/// The same with kernels of a port, in training and classification.
///
/// # Errors
/// The device's fault, with the tick at which it stopped.
pub fn compare_with<C: Configuration, K: Kernels<f32> + Clone>(
    digits: &Digits,
    kernels: K,
    settings: Settings<C::Solver>,
    observer: Observer<'_>,
) -> Result<Comparison, Stopped> {
    let mut aligned = SimulatedDevice::<C, _, _>::new(digits.flash(), kernels, settings);
    run_to(&mut aligned, Some(Stage::Pretrain), Path::Aligned, observer)?;
    let mut conventional = aligned.clone();
    conventional.device.skip_alignment();
    let mut finish = |simulated: &mut SimulatedDevice<C, _, _>, path| {
        run_to(simulated, None, path, observer)?;
        outcome(simulated, digits, path)
    };
    Ok(Comparison {
        aligned: finish(&mut aligned, Path::Aligned)?,
        conventional: finish(&mut conventional, Path::Conventional)?,
    })
}

/// A device over the digits, begun.
pub fn start<C: Configuration>(
    digits: &Digits,
    settings: Settings<C::Solver>,
) -> SimulatedDevice<C, FlashFrames<'_, u8>, Compact> {
    SimulatedDevice::new(digits.flash(), Compact, settings)
}

/// Ticks until `stage` has ended, or to the end of training.
///
/// # Errors
/// The device's fault, with the tick at which it stopped.
pub fn run_to<C: Configuration, S: FrameSource, K: Kernels<f32>>(
    simulated: &mut SimulatedDevice<C, S, K>,
    stage: Option<Stage>,
    path: Path,
    observer: Observer<'_>,
) -> Result<(), Stopped> {
    loop {
        let tick = simulated.tick().map_err(|fault| {
            let tick = simulated.device.ticks();
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

fn outcome<C: Configuration, K: Kernels<f32>>(
    simulated: &mut SimulatedDevice<C, FlashFrames<'_, u8>, K>,
    digits: &Digits,
    path: Path,
) -> Result<Outcome, Stopped> {
    let SimulatedDevice { device, frames, kernels } = simulated;
    let ticks = device.ticks();
    let stopped = |fault| Stopped { path, tick: ticks, fault };
    let mut frame = [0.0; PIXELS];
    let mut correct = 0;
    for (picture, label) in digits.held_out() {
        frames.scale(picture, &mut frame);
        let class = device.classify(frames, kernels, &frame).map_err(stopped)?;
        correct += u32::from(class == *label);
    }
    let hash = device.hash().map_err(stopped)?;
    Ok(Outcome { correct, held_out: digits.held_out().len() as u32, ticks, hash })
}

fn hexadecimal<S: serde::Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{hash:016x}"))
}
