//! Ports of the device's arithmetic, the laws that they must obey, and the cost of their rounding.
//!
//! `docs/porting.md` walks through them. [`FixedPoint`] multiplies matrices of short integers;
//! [`AsynchronousDevice`] performs requests on an accelerator that reports later when it is done;
//! [`check_laws`] runs the core's conformance kit over any kernels; [`port_report`] trains with
//! fixed point and compares its hypergradients with those of f32.

mod asynchronous;
mod fixed_point;
// The board's image is built from the same file, so both print the same lines.
#[path = "../../../boards/src/laws.rs"]
mod laws;
mod report;

use std::fmt;

use bissl_core::DriveError;
use bissl_core::conformance::{Law, Settings, Summary};
use bissl_firmware::{Compact, Fault, Kernels, Program};

pub use asynchronous::{
    AsynchronousDevice, AsynchronousError, CompletionFault, CompletionTraffic, Latency, Manners,
    Turn,
};
pub use fixed_point::{BITS, BitsOutOfRange, FixedPoint};
pub use laws::{ConformanceDevice, judge, prepare};
pub use report::{HypergradientError, PortError, PortReport, PortSeed, port_report};

use crate::Digits;

/// Checks all laws of the conformance kit on the device's problem with `kernels`, in a state that
/// the plain loops have pretrained, and passes each line to `print`.
///
/// # Errors
/// The device's fault, or an error of the problem in an operation that it must support.
pub fn check_laws<K: Kernels<f32>>(
    digits: &Digits,
    (name, kernels): (&str, &mut K),
    tolerances: Settings,
    print: impl FnMut(fmt::Arguments<'_>),
) -> Result<Summary, DriveError<Fault>> {
    let frames = digits.flash();
    let mut device = Program::<ConformanceDevice>::new();
    let settings = prepare(&mut device, &frames, &mut Compact).map_err(DriveError::Problem)?;
    let laws = (&Law::ALL[..], tolerances);
    judge((&mut device, &settings), &frames, (name, kernels), laws, print)
}
