//! Exact conjugate gradients on `A x = b`, started from zero.

use crate::error::{at_least_one, fraction, get};
use crate::machine::{front, machine};
use crate::report::Measured;
use crate::{
    ConfigError, LinearSolver, Pairs, Register, Reply, Report, Request, SolverFacts, Termination,
    Ticket, UnexpectedReply,
};
use Register::{Direction, Product, Residual, Solution};

/// When conjugate gradients stop.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CgSettings {
    tolerance: f32,
    correction_tolerance: f32,
    iterations_max: u16,
}

impl CgSettings {
    /// Stop at ‖r‖ ≤ `tolerance` · ‖x‖, `tolerance` in `[0, 1)`, or after `iterations_max` ≥ 1
    /// products.
    ///
    /// Where H is positive semi-definite, A ⪰ I and the tolerance bounds the relative error of x.
    ///
    /// # Errors
    /// The setting that is out of its range.
    pub const fn new(tolerance: f32, iterations_max: u16) -> Result<Self, ConfigError> {
        get!(fraction("tolerance", tolerance));
        get!(at_least_one("iterations", iterations_max as u32));
        Ok(Self { tolerance, correction_tolerance: 0.0, iterations_max })
    }

    /// Also stop at ‖r‖ ≤ `share` · ‖x − b‖, `share` in `[0, 1)`.
    ///
    /// With A ⪰ I this bounds the share of the second-order correction that is missed,
    /// ‖x − x*‖/‖b − x*‖, by `share`/(1 − `share`): the same accuracy whether the correction is 1 %
    /// of x or half of it, which one `tolerance` cannot give.
    ///
    /// # Errors
    /// A share outside its range.
    pub fn with_correction_tolerance(self, share: f32) -> Result<Self, ConfigError> {
        fraction("correction_tolerance", share)?;
        Ok(Self { correction_tolerance: share, ..self })
    }

    /// Whether an iterate with these squares is good enough.
    pub(crate) fn reached(&self, residual_sq: f32, solution_sq: f32, correction_sq: f32) -> bool {
        let share = self.correction_tolerance;
        residual_sq <= self.tolerance * self.tolerance * solution_sq
            || residual_sq <= share * share * correction_sq
    }

    /// The most products of a solve.
    pub(crate) fn iterations_max(&self) -> u16 {
        self.iterations_max
    }
}

/// Hestenes, Stiefel (1952); Nocedal, Wright (2006), algorithm 5.2, for a symmetric A.
///
/// `Residual` holds b on entry and is consumed; `Solution` holds x at the end; `Direction` and
/// `Product` are scratch. One product and two replies with scalars an iteration.
///
/// Departures from the textbook: (1) the stopping test compares ‖r‖ with ‖x‖ instead of ‖b‖;
/// (2) it stops *before* a direction with pᵀAp ≤ 0, so that x is the last iterate at which the
/// quadratic model decreased: 0 if it was the first direction.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConjugateGradient {
    settings: CgSettings,
    ticket: Ticket,
    state: State,
    measured: Measured,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    ZeroSolution,
    RightHandSide,
    FirstDirection,
    Product,
    Curvature,
    Solution { alpha: f32 },
    Residual { alpha: f32 },
    Norms { alpha: f32 },
    Direction { beta: f32 },
    Done(Termination),
}

impl ConjugateGradient {
    /// A solve that has not begun.
    pub fn new(settings: CgSettings) -> Self {
        let (ticket, measured) = (Ticket::default(), Measured::default());
        Self { settings, ticket, state: State::ZeroSolution, measured }
    }

    fn output(&self) -> Option<Report> {
        match self.state {
            State::Done(termination) => Some(self.measured.report(termination)),
            _ => None,
        }
    }

    fn advance(&mut self, _: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::ZeroSolution => State::RightHandSide,
            State::RightHandSide => match self.measured.on_right_hand_side(front(scalars)?) {
                Some(termination) => State::Done(termination),
                None => State::FirstDirection,
            },
            State::FirstDirection | State::Direction { .. } => State::Product,
            State::Product => State::Curvature,
            State::Curvature => self.on_curvature(front(scalars)?),
            State::Solution { alpha } => State::Residual { alpha },
            State::Residual { alpha } => State::Norms { alpha },
            State::Norms { alpha } => self.on_norms(alpha, front(scalars)?),
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    fn on_curvature(&mut self, [curvature, direction_sq]: [f32; 2]) -> State {
        let measured = &mut self.measured;
        measured.products += 1;
        if !measured.rayleigh.see(curvature, direction_sq) {
            return State::Done(Termination::NonFinite);
        }
        if curvature <= 0.0 {
            // A is indefinite along p, not a rounding accident: an epsilon would only hide it.
            return State::Done(Termination::NegativeCurvature);
        }
        let alpha = measured.residual_sq / curvature;
        if alpha.is_finite() {
            State::Solution { alpha }
        } else {
            State::Done(Termination::NonFinite)
        }
    }

    fn on_norms(&mut self, alpha: f32, [residual_sq, solution_sq]: [f32; 2]) -> State {
        // pᵢᵀb = rᵢᵀrᵢ for conjugate directions, so bᵀx needs no dot and b no register.
        let measured = &mut self.measured;
        measured.alignment += alpha * measured.residual_sq;
        let beta = residual_sq / measured.residual_sq;
        (measured.residual_sq, measured.solution_sq) = (residual_sq, solution_sq);
        if !(residual_sq.is_finite() && solution_sq.is_finite() && beta.is_finite()) {
            State::Done(Termination::NonFinite)
        } else if self.settings.reached(residual_sq, solution_sq, measured.correction_sq()) {
            State::Done(Termination::Converged)
        } else if measured.products >= self.settings.iterations_max {
            State::Done(Termination::IterationLimit)
        } else {
            State::Direction { beta }
        }
    }
}

impl LinearSolver for ConjugateGradient {
    type Settings = CgSettings;
    type Memory = ();

    fn begin(settings: CgSettings, (): ()) -> Self {
        Self::new(settings)
    }

    fn request(&self) -> Request {
        match self.state {
            State::ZeroSolution => Request::Zero { dst: Solution },
            State::RightHandSide => Request::Dots { pairs: Pairs::new([(Residual, Residual)]) },
            State::FirstDirection => Request::Copy { src: Residual, dst: Direction },
            State::Product => Request::Apply { src: Direction, dst: Product },
            State::Curvature => {
                Request::Dots { pairs: Pairs::new([(Direction, Product), (Direction, Direction)]) }
            }
            State::Solution { alpha } => {
                Request::Axpby { a: alpha, x: Direction, b: 1.0, y: Solution }
            }
            State::Residual { alpha } => {
                Request::Axpby { a: -alpha, x: Product, b: 1.0, y: Residual }
            }
            State::Norms { .. } | State::Done(_) => {
                Request::Dots { pairs: Pairs::new([(Residual, Residual), (Solution, Solution)]) }
            }
            State::Direction { beta } => {
                Request::Axpby { a: 1.0, x: Residual, b: beta, y: Direction }
            }
        }
    }

    fn facts(_: &CgSettings) -> SolverFacts {
        SolverFacts { stops_by_tolerance: true, solves_general: true, ..SolverFacts::PLAIN }
    }
}

machine!(ConjugateGradient => Report);
