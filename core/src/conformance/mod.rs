//! Laws by which a new backend proves itself, on the machine that it runs on.
//!
//! A backend is whatever implements [`LowerObjective`] and [`UpperObjective`]. The kit asks it for
//! the operations that the machines ask for, and compares their results with each other: a product
//! with its own transpose, with differences of the gradient, with itself a second time. It knows
//! nothing about the problem, holds no vector and does not allocate, so that it runs where the
//! backend runs. A [`Law`] ends in a [`Verdict`]: what was measured, and what is allowed.
//!
//! ```
//! use bissl_core::conformance::{self, Law, Settings};
//! use bissl_core::{LowerObjective, UpperObjective};
//!
//! /// Whether no law is broken; those that were not measured are printed.
//! fn prove<P>(problem: &mut P) -> bool
//! where
//!     P: LowerObjective<Error: core::fmt::Display> + UpperObjective,
//! {
//!     let mut scalars = [0.0; 16];
//!     let print = |outcome: &conformance::Outcome<P::Error>| println!("{outcome}");
//!     conformance::run(problem, &Law::ALL, &Settings::DEFAULT, &mut scalars, print)
//!         .is_ok_and(|summary| summary.broken == 0)
//! }
//! ```
//!
//! **Registers.** `Solution`, `Residual`, `Direction`, `Product` must exist and are overwritten, as
//! are the gradients of the heads and, where they exist, slots 0 and 1 of `Basis`, `Hypergradient`
//! and `DirectGradient`. Parameters are put back bit for bit, also where the problem fails inside a
//! law. [`Law::LowerHeadDifferences`] and [`Law::UpperHeadDifferences`] keep a head's parameters in
//! its momentum meanwhile and leave 0 there. So run the kit before a stage, and linearise again
//! after it. Running statistics that move with gradients hold NaN after [`Law::NonFinite`]: restore
//! those, or leave out that law.
//!
//! **What a problem may lack.** Registers other than the four; segments, banks, sketches; frozen
//! backbones; [`Evaluation::UpperAtUpper`](crate::Evaluation::UpperAtUpper). Its error there ends
//! the law as [`Outcome::Unsupported`], which is not a pass. Its error anywhere else is an error of
//! the kit.
//!
//! **Directions.** Laws about linear maps need vectors. Where the problem has
//! [`sketch`](crate::RegisterFile::sketch), they are its draws; elsewhere sums of a lower gradient,
//! an upper gradient and θ_P. The latter do not see a fault in what is 0 in all three, such as a
//! bias that begins at 0 and whose gradient is forgotten in both levels. A `sketch` in the program
//! that runs the kit closes that gap.
//!
//! **Differences in f32 are coarse.** A loss of size 1 carries 7 digits, and a rectifier has kinks,
//! so `differences` laws find a factor, a sign or a missing term, and not the last percent. A wrong
//! coordinate among thousands is below what they see; compare with f64 on a PC for that.
//!
//! **Not covered.** AdamW's elementwise update, which is
//! [`AdamCoefficients::update`](crate::AdamCoefficients::update)'s. A target network that follows
//! by a moving average moves with every lower gradient; hold it still while the kit runs.

mod curvature;
mod differences;
mod gradients;
mod law;
mod non_finite;
mod pieces;
mod probe;
mod protocol;
mod settings;
mod vectors;
mod verdict;

pub use law::Law;
pub use protocol::check_machine;
pub use settings::Settings;
pub use verdict::{Outcome, Summary, Verdict};

use crate::{DriveError, LowerObjective, Register, RegisterFile, UpperObjective};
use probe::{Probe, Stop};

/// Gradient of L^P on the batch that `linearize(index)` fixes; arguments are those of
/// [`LowerObjective::lower_gradient`].
pub type ProductGradient<P> =
    fn(&mut P, u32, Option<Register>, Register) -> Result<f32, <P as RegisterFile>::Error>;

/// The kit for one kind of problem.
#[derive(Clone, Copy, Debug)]
pub struct Kit<P: RegisterFile> {
    settings: Settings,
    gradient: ProductGradient<P>,
}

impl<P: LowerObjective + UpperObjective> Kit<P> {
    /// For a problem whose `linearize(index)` takes the batch of `lower_gradient(index)`.
    pub fn new(settings: Settings) -> Self {
        Self { settings, gradient: P::lower_gradient }
    }

    /// For a problem that draws the batches of its products from elsewhere: `gradient` is the one
    /// on them.
    #[must_use]
    pub fn with_product_gradient(self, gradient: ProductGradient<P>) -> Self {
        Self { gradient, ..self }
    }

    /// Checks one law.
    ///
    /// `scalars` is the workspace of the machines: at least 4, twice the number of segments for the
    /// laws of segments.
    ///
    /// # Errors
    /// The problem's, from an operation that it must have; a workspace that is too short.
    pub fn check(
        &self,
        problem: &mut P,
        law: Law,
        scalars: &mut [f32],
    ) -> Result<Outcome<P::Error>, DriveError<P::Error>> {
        if law == Law::CrossProductDifferences && !self.settings.cross_product {
            return Ok(Outcome::NotAsked { law });
        }
        let mut probe =
            Probe { problem, settings: &self.settings, gradient: self.gradient, scalars };
        match probe.measure(law) {
            Ok(measured) => {
                let limit = law.limit(&self.settings);
                Ok(Outcome::Judged(Verdict { law, measured, limit }))
            }
            Err(Stop::Unsupported(error)) => Ok(Outcome::Unsupported { law, error }),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Checks `laws` in order and hands each outcome to `sink`.
    ///
    /// # Errors
    /// As [`check`](Self::check), at the first law that meets one.
    pub fn run(
        &self,
        problem: &mut P,
        laws: &[Law],
        scalars: &mut [f32],
        mut sink: impl FnMut(&Outcome<P::Error>),
    ) -> Result<Summary, DriveError<P::Error>> {
        let mut summary = Summary::default();
        for law in laws {
            let outcome = self.check(problem, *law, scalars)?;
            summary.count(&outcome);
            sink(&outcome);
        }
        Ok(summary)
    }
}

/// [`Kit::check`] for a problem whose `linearize(index)` takes the batch of
/// `lower_gradient(index)`.
///
/// # Errors
/// As there.
pub fn check<P: LowerObjective + UpperObjective>(
    problem: &mut P,
    law: Law,
    settings: &Settings,
    scalars: &mut [f32],
) -> Result<Outcome<P::Error>, DriveError<P::Error>> {
    Kit::new(*settings).check(problem, law, scalars)
}

/// [`Kit::run`] for a problem whose `linearize(index)` takes the batch of `lower_gradient(index)`.
///
/// # Errors
/// As there.
pub fn run<P: LowerObjective + UpperObjective>(
    problem: &mut P,
    laws: &[Law],
    settings: &Settings,
    scalars: &mut [f32],
    sink: impl FnMut(&Outcome<P::Error>),
) -> Result<Summary, DriveError<P::Error>> {
    Kit::new(*settings).run(problem, laws, scalars, sink)
}
