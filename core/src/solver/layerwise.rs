//! The reference code's variant of conjugate gradients: a step length for each parameter tensor.

use crate::error::at_least_one;
use crate::machine::{expect_segments, front, machine};
use crate::report::Measured;
use crate::{
    Bank, ConfigError, LinearSolver, Pairs, Register, Reply, Report, Request, SolverFacts,
    Termination, Ticket, UnexpectedReply,
};
use Register::{Banked, Direction, Product, Residual, Solution};

/// How many iterations the layer-wise solver takes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LayerwiseSettings {
    iterations_max: u16,
}

impl LayerwiseSettings {
    /// `iterations_max` N_c ≥ 1; all of them are taken.
    ///
    /// # Errors
    /// No iterations.
    pub fn new(iterations_max: u16) -> Result<Self, ConfigError> {
        at_least_one("iterations", iterations_max.into()).map(|_| Self { iterations_max })
    }
}

/// Keeps b: the report needs bᵀx.
const RIGHT_HAND_SIDE: Register = Banked(Bank::Basis, 0);

/// The recurrence of the authors' code (arXiv 2410.02387): conjugate gradients' formulas, but with
/// a step length and a conjugation factor for each parameter tensor `s`, on one operator that
/// couples them all. *For reproduction only; it is not CG.*
///
/// ```text
/// x = 0, r = p = b;  N_c times:
///   α_s = r_sᵀr_s / p_sᵀ(Ap)_s    x_s ← x_s + α_s p_s    r_s ← r_s − α_s (Ap)_s
///   β_s = r_sᵀr_s after / before  p_s ← r_s + β_s p_s
/// ```
///
/// With several tensors the directions are not conjugate, no norm of the error need fall, it grows
/// where ‖H‖ is much larger than the damping, and **r is not b − A x**: `A` of the block-wise step
/// is not the block-wise step of `A p`. No product has then measured x, so the report has no
/// residual. With one tensor it is conjugate gradients, bit for bit, and r is the residual.
///
/// `Residual` holds b on entry and is consumed; `Solution` holds x at the end; `Direction` and
/// `Product` are scratch; `Banked(Basis, 0)` keeps b for the report's bᵀx, a fifth vector of the
/// backbone's length that the recurrence itself does not need. The longest reply has three scalars
/// a segment. One product and two replies with scalars an iteration.
///
/// As in the reference there is no stopping test, and curvature pᵀAp ≤ 0, of a tensor or as a
/// whole, is divided by like any other; it shows in `rayleigh_min`. Departures from the reference:
/// (1) a tensor whose r_sᵀr_s is 0 has α_s = β_s = 0, where the reference divides 0 by 0 and
/// replaces NaN by 0; any other quotient that is not finite ends the solve in
/// [`Termination::NonFinite`]; (2) it ends before N_c iterations where r = 0: then nothing would
/// move any more. That is [`Termination::Converged`] with one tensor, [`Termination::Unverified`]
/// with several.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Layerwise {
    settings: LayerwiseSettings,
    ticket: Ticket,
    state: State,
    /// Number of parameter tensors; 0 until the first reply that shows it.
    segments: u32,
    /// Its residual is the recurrence's r.
    measured: Measured,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    ZeroSolution,
    KeepRightHandSide,
    RightHandSide,
    FirstDirection,
    Product,
    Curvatures,
    Solution,
    Residual,
    Residuals,
    CopyResidual,
    Conjugate,
    NextDirection,
    Norms,
    Done(Termination),
}

impl Layerwise {
    /// A solve that has not begun.
    pub fn new(settings: LayerwiseSettings) -> Self {
        let (ticket, measured) = (Ticket::default(), Measured::default());
        Self { settings, ticket, state: State::ZeroSolution, segments: 0, measured }
    }

    fn output(&self) -> Option<Report> {
        let State::Done(termination) = self.state else { return None };
        let report = self.measured.report(termination);
        let measured = report.products == 0 || self.segments == 1;
        Some(Report { residual_sq: report.residual_sq.filter(|_| measured), ..report })
    }

    fn advance(&mut self, reply: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::ZeroSolution => State::KeepRightHandSide,
            State::KeepRightHandSide => State::RightHandSide,
            State::RightHandSide => match self.measured.on_right_hand_side(front(scalars)?) {
                Some(termination) => State::Done(termination),
                None => State::FirstDirection,
            },
            State::FirstDirection | State::NextDirection => State::Product,
            State::Product => State::Curvatures,
            State::Curvatures => {
                self.segments = expect_segments::<3>(self.segments, reply, scalars)?;
                self.on_curvatures(scalars)
            }
            State::Solution => {
                let steps = scalars.iter_mut().take(self.segments as usize);
                steps.for_each(|alpha| *alpha = -*alpha);
                State::Residual
            }
            State::Residual => State::Residuals,
            State::Residuals => {
                self.segments = expect_segments::<1>(self.segments, reply, scalars)?;
                self.on_residuals(scalars)
            }
            State::CopyResidual => State::Conjugate,
            State::Conjugate => State::NextDirection,
            State::Norms => self.on_norms(front(scalars)?),
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    /// Takes p_sᵀ(Ap)_s, r_sᵀr_s and p_sᵀp_s; leaves α_s and r_sᵀr_s.
    fn on_curvatures(&mut self, scalars: &mut [f32]) -> State {
        let count = self.segments as usize;
        // The workspace holds them all; the minima show the compiler that no split can panic.
        let (curvatures, rest) = scalars.split_at_mut(count.min(scalars.len()));
        let (residuals_sq, rest) = rest.split_at(count.min(rest.len()));
        let (directions_sq, _) = rest.split_at(count.min(rest.len()));
        self.measured.products += 1;
        if !self.measured.rayleigh.see(curvatures.iter().sum(), directions_sq.iter().sum()) {
            return State::Done(Termination::NonFinite);
        }
        for (scalar, residual_sq) in curvatures.iter_mut().zip(residuals_sq) {
            *scalar = quotient(*residual_sq, *scalar);
        }
        if curvatures.iter().all(|alpha| alpha.is_finite()) {
            State::Solution
        } else {
            State::Done(Termination::NonFinite)
        }
    }

    /// Takes r_sᵀr_s, followed by that from before the step, which is still there; leaves β_s.
    fn on_residuals(&mut self, scalars: &mut [f32]) -> State {
        let count = self.segments as usize;
        let (after_sq, rest) = scalars.split_at_mut(count.min(scalars.len()));
        let (before_sq, _) = rest.split_at(count.min(rest.len()));
        self.measured.residual_sq = after_sq.iter().sum();
        for (scalar, before_sq) in after_sq.iter_mut().zip(before_sq) {
            *scalar = quotient(*scalar, *before_sq);
        }
        let finite =
            self.measured.residual_sq.is_finite() && after_sq.iter().all(|beta| beta.is_finite());
        if !finite {
            State::Done(Termination::NonFinite)
        } else if self.measured.residual_sq == 0.0
            || self.measured.products >= self.settings.iterations_max
        {
            State::Norms
        } else {
            State::CopyResidual
        }
    }

    fn on_norms(&mut self, [solution_sq, alignment]: [f32; 2]) -> State {
        let measured = &mut self.measured;
        (measured.solution_sq, measured.alignment) = (solution_sq, alignment);
        State::Done(if !(solution_sq.is_finite() && alignment.is_finite()) {
            Termination::NonFinite
        } else if measured.residual_sq > 0.0 {
            Termination::IterationLimit
        } else if self.segments == 1 {
            Termination::Converged
        } else {
            Termination::Unverified
        })
    }
}

/// `numerator / denominator`; 0 where a tensor has nothing left to solve.
fn quotient(numerator: f32, denominator: f32) -> f32 {
    if numerator == 0.0 { 0.0 } else { numerator / denominator }
}

impl LinearSolver for Layerwise {
    type Settings = LayerwiseSettings;
    type Memory = ();

    fn begin(settings: LayerwiseSettings, (): ()) -> Self {
        Self::new(settings)
    }

    /// The workspace holds, at `Solution` and `Residual`, α and −α, then r_sᵀr_s before the step;
    /// at `Conjugate`, β.
    fn request(&self) -> Request {
        match self.state {
            State::ZeroSolution => Request::Zero { dst: Solution },
            State::KeepRightHandSide => Request::Copy { src: Residual, dst: RIGHT_HAND_SIDE },
            State::RightHandSide => Request::Dots { pairs: Pairs::new([(Residual, Residual)]) },
            State::FirstDirection => Request::Copy { src: Residual, dst: Direction },
            State::Product => Request::Apply { src: Direction, dst: Product },
            State::Curvatures => Request::SegmentDots {
                pairs: Pairs::new([
                    (Direction, Product),
                    (Residual, Residual),
                    (Direction, Direction),
                ]),
            },
            State::Solution => Request::SegmentAxpby { x: Direction, b: 1.0, y: Solution },
            State::Residual => Request::SegmentAxpby { x: Product, b: 1.0, y: Residual },
            State::Residuals => Request::SegmentDots { pairs: Pairs::new([(Residual, Residual)]) },
            // p ← r + β p needs the factors on p. A p is no longer needed: its register is used.
            State::CopyResidual => Request::Copy { src: Residual, dst: Product },
            State::Conjugate => Request::SegmentAxpby { x: Direction, b: 1.0, y: Product },
            State::NextDirection => Request::Copy { src: Product, dst: Direction },
            State::Norms | State::Done(_) => Request::Dots {
                pairs: Pairs::new([(Solution, Solution), (RIGHT_HAND_SIDE, Solution)]),
            },
        }
    }

    fn facts(_: &LayerwiseSettings) -> SolverFacts {
        SolverFacts { basis: 1, segment_scalars: 3, solves_general: true, ..SolverFacts::PLAIN }
    }
}

machine!(Layerwise => Report);
