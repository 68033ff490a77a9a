//! On-device alignment: a network that was pretrained elsewhere gets frames of another kind, most
//! of them without labels.

mod digits_shift;
mod extract;
mod image;
mod watch;
mod wearer;

use bissl_core::ConjugateGradient;
use bissl_firmware::{
    Blocked, Configuration, FlashFrames, Lengths, Sample, Scale, Settings, Stage, Tick,
};
use serde::Serialize;

pub use self::digits_shift::{DigitsShift, PretrainedDigits, pretrain_digits};
pub use self::extract::Extract;
pub use self::image::{AlignedImage, ImageFileError, small_digits_weights, write_image};
pub use self::watch::{Watch, WatchError};
pub use self::wearer::{WATCH_VIEWS, Wearer, align_wearer, wearer};
use crate::{Path, SimulatedDevice, Stopped};

/// The frames that a device finds where it is used.
#[derive(Clone, Debug, Default)]
pub struct Surroundings<N> {
    /// Frames without labels, one after the other.
    pub unlabelled: Vec<N>,
    /// Labelled frames.
    pub labelled: Vec<N>,
    /// Classes of the labelled frames.
    pub labels: Vec<u8>,
    /// Frames that no training sees.
    pub held_out: Vec<N>,
    /// Classes of the held-out frames.
    pub held_out_labels: Vec<u8>,
}

/// Correctly classified held-out frames after different ways from the same pretrained network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Adaptation {
    /// A head was trained on the network as it came, and nothing else.
    pub before: u32,
    /// The network was fine-tuned on the labelled frames, with as many steps as the upper steps of
    /// the bilevel stage and those of fine-tuning together.
    pub finetuned: u32,
    /// The network was pretrained further on the unlabelled frames, with as many steps as the
    /// bilevel stage has lower steps, then fine-tuned as before.
    pub continued: u32,
    /// The network went through warm-up and bilevel stage, then was fine-tuned.
    pub aligned: u32,
    /// Number of held-out frames.
    pub held_out: u32,
}

/// A pretrained network, as a device has it in flash.
#[derive(Clone, Copy, Debug)]
pub struct Pretrained<'a> {
    /// Weights of the backbone, then of the pretext head.
    pub weights: &'a [f32],
    /// The scale of each channel.
    pub scales: &'a [Scale],
}

/// Trains one device on each of the ways; `settings` makes the settings of a training of given
/// lengths.
///
/// # Errors
/// A device stops with a fault.
pub fn adapt<C, N>(
    surroundings: &Surroundings<N>,
    pretrained: Pretrained<'_>,
    lengths: Lengths,
    settings: impl Fn(Lengths) -> Settings,
) -> Result<Adaptation, Stopped>
where
    C: Configuration<Solver = ConjugateGradient>,
    N: Sample,
{
    let floats = C::MODEL.input.floats();
    let frames = FlashFrames {
        unlabelled: &surroundings.unlabelled,
        labelled: &surroundings.labelled,
        labels: &surroundings.labels,
        floats,
        scales: pretrained.scales,
        weights: pretrained.weights,
    };
    let device = |settings: Settings| SimulatedDevice::<C, _, _>::new(frames, Blocked, settings);
    let mut aligned = device(settings(lengths).pretrained());
    run_to(&mut aligned, Some(Stage::WarmUp), Path::Aligned)?;
    let before = correct(&mut aligned, surroundings, Path::Aligned)?;
    run_to(&mut aligned, None, Path::Aligned)?;

    let upper = lengths.alternations * lengths.upper_steps;
    let lower = lengths.alternations * lengths.lower_steps;
    let equal =
        settings(Lengths { finetune: lengths.finetune + upper, pretrain: lower, ..lengths });
    let mut finetuned = device(equal.pretrained().without_alignment());
    run_to(&mut finetuned, None, Path::Conventional)?;
    let mut continued = device(equal.from_flash().without_alignment());
    run_to(&mut continued, None, Path::Conventional)?;
    Ok(Adaptation {
        before,
        finetuned: correct(&mut finetuned, surroundings, Path::Conventional)?,
        continued: correct(&mut continued, surroundings, Path::Conventional)?,
        aligned: correct(&mut aligned, surroundings, Path::Aligned)?,
        held_out: surroundings.held_out_labels.len() as u32,
    })
}

type Device<'a, C, N> = SimulatedDevice<C, FlashFrames<'a, N>, Blocked>;

fn run_to<C: Configuration, N: Sample>(
    device: &mut Device<'_, C, N>,
    stage: Option<Stage>,
    path: Path,
) -> Result<(), Stopped> {
    crate::run_to(device, stage, path, &mut |_, _: &Tick| {})
}

/// Number of held-out frames that the device classifies correctly.
fn correct<C: Configuration, N: Sample>(
    device: &mut Device<'_, C, N>,
    surroundings: &Surroundings<N>,
    path: Path,
) -> Result<u32, Stopped> {
    let floats = C::MODEL.input.floats();
    let mut frame = vec![0.0; floats];
    let mut correct = 0;
    let held_out = surroundings.held_out.chunks_exact(floats);
    for (numbers, label) in held_out.zip(&surroundings.held_out_labels) {
        device.frames.scale(numbers, &mut frame);
        let tick = device.device.ticks();
        let SimulatedDevice { device, frames, kernels } = device;
        let class = device.classify(frames, kernels, &frame).map_err(|fault| Stopped {
            path,
            tick,
            fault,
        })?;
        correct += u32::from(class == *label);
    }
    Ok(correct)
}
