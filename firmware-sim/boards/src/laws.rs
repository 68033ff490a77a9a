//! The core's conformance kit on the device's own problem: one line for each law, the same on a
//! board and on a PC.

use core::fmt;

use bissl_core::conformance::{self, Kit, Law, Outcome, Summary};
use bissl_core::{ConjugateGradient, DriveError};
use bissl_firmware::{
    Configuration, DigitsDevice, Fault, FrameSource, Kernels, Lengths, Model, Plan, Program,
    SCALARS, Session, Settings, Stage, Tick,
};

/// The shipped network with memory of its own for every register, since the kit asks for all of
/// them at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConformanceDevice;

impl Configuration for ConformanceDevice {
    const MODEL: Model = Model { shared: false, ..DigitsDevice::MODEL };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = ConjugateGradient;
    const SEGMENTS: bool = true;
}

/// As for the shipped device, what is left of 128 KiB is for stack and board.
const _: () = assert!(Program::<ConformanceDevice>::BYTES <= 96 * 1024);

/// The training before the kit. At a random start the curvature is so indefinite that a solve ends
/// before its first product, and there would be no solve to check.
const LENGTHS: Lengths = Lengths {
    pretrain: 100,
    warm_up: 20,
    alternations: 1,
    lower_steps: 1,
    upper_steps: 1,
    finetune: 1,
};

/// Trains `device` up to the bilevel stage; returns the settings of that training.
///
/// # Errors
/// The device's fault.
pub fn prepare<S: FrameSource, K: Kernels<f32>>(
    device: &mut Program<ConformanceDevice>,
    source: &S,
    kernels: &mut K,
) -> Result<Settings, Fault> {
    let settings = Settings::new(1, LENGTHS).map_err(Fault::Config)?;
    device.begin(settings);
    while device.tick(source, kernels)? != Tick::Begun(Stage::Align) {}
    Ok(settings)
}

/// Checks `laws` on a prepared device with `kernels` and passes each line to `print`.
///
/// # Errors
/// An error of the problem in an operation that it must support.
pub fn judge<S: FrameSource, K: Kernels<f32>>(
    (device, settings): (&mut Program<ConformanceDevice>, &Settings),
    source: &S,
    (name, kernels): (&str, &mut K),
    (laws, tolerances): (&[Law], conformance::Settings),
    mut print: impl FnMut(fmt::Arguments<'_>),
) -> Result<Summary, DriveError<Fault>> {
    let mut session = device.session(settings, source, kernels);
    // Products use other batches than gradients.
    let kit = Kit::new(tolerances).with_product_gradient(Session::product_gradient);
    kit.run(&mut session, laws, &mut [0.0; SCALARS], |outcome| match outcome {
        Outcome::Judged(verdict) => {
            let conformance::Verdict { law, measured, limit } = verdict;
            let (law, holds) = (law.name(), verdict.holds());
            // Floats are printed as the shortest decimals that read back the same: equal text means
            // equal bits.
            print(format_args!(
                "kernels={name} law={law} measured={measured:e} limit={limit:e} holds={holds}"
            ));
        }
        Outcome::Unsupported { law, .. } => {
            print(format_args!("kernels={name} law={} holds=unsupported", law.name()));
        }
        Outcome::NotAsked { law } => {
            print(format_args!("kernels={name} law={} holds=not-asked", law.name()));
        }
    })
}
