//! A training of the simulated device, compared with the conventional path.

use bissl_firmware::{
    Compact, Configuration, Fault, FlashFrames, FrameSource, Kernels, Program, Settings, Stage,
    Tick,
};
use serde::Serialize;

use crate::Digits;
use crate::digits::PIXELS;

/// A device with the frames and the kernels that it borrows.
#[derive(Clone, Debug)]
pub struct SimulatedDevice<C: Configuration, S, K> {
    /// The whole state.
    pub device: Program<C>,
    /// The source of its frames.
    pub frames: S,
    /// The kernels of its matrix products.
    pub kernels: K,
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> SimulatedDevice<C, S, K> {
    /// A device whose training has begun.
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

/// The path from pretraining to fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// Through warm-up and the bilevel stage.
    Aligned,
    /// Straight to fine-tuning.
    Conventional,
}

/// The result of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Held-out pictures that are classified correctly.
    pub correct: u32,
    /// Number of held-out pictures.
    pub held_out: u32,
    /// Ticks since the start, with those of pretraining.
    pub ticks: u64,
    /// FNV-1a 64 of the final state.
    #[serde(serialize_with = "hexadecimal")]
    pub hash: u64,
}

impl Outcome {
    /// Fraction of held-out pictures that are classified correctly, in `[0, 1]`.
    pub fn accuracy(&self) -> f64 {
        f64::from(self.correct) / f64::from(self.held_out)
    }
}

/// Both paths, from the same pretraining and with the same fine-tuning.
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
    /// The path.
    pub path: Path,
    /// Ticks until then.
    pub tick: u64,
    /// The fault.
    pub fault: Fault,
}

/// Is called with every tick; it cannot influence the device.
pub type Observer<'a> = &'a mut dyn FnMut(Path, &Tick);

/// Pretrains once, then takes both paths.
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

/// [`compare`] with the kernels of a port, in training and in classification.
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

/// A device on the digits whose training has begun.
pub fn start<C: Configuration>(
    digits: &Digits,
    settings: Settings<C::Solver>,
) -> SimulatedDevice<C, FlashFrames<'_, u8>, Compact> {
    SimulatedDevice::new(digits.flash(), Compact, settings)
}

/// Ticks until `stage` has ended; for `None`, until the training has ended.
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
