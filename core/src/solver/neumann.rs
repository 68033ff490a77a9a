//! The truncated Neumann series of A^{-1} around the identity.

use crate::machine::{front, machine};
use crate::report::Measured;
use crate::{
    CgSettings, ConfigError, LinearSolver, Pairs, Register, Reply, Report, Request, SolverFacts,
    Termination, Ticket, UnexpectedReply,
};
use Register::{Direction, Product, Residual, Solution};

/// When the series is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NeumannSettings {
    stop: CgSettings,
}

impl NeumannSettings {
    /// Stop at ‖r‖ ≤ `tolerance` · ‖x‖, `tolerance` in `[0, 1)`, or after `iterations_max` N_c ≥ 1
    /// products, which is a sum of N_c terms.
    ///
    /// # Errors
    /// The setting that is out of its range.
    pub fn new(tolerance: f32, iterations_max: u16) -> Result<Self, ConfigError> {
        CgSettings::new(tolerance, iterations_max).map(|stop| Self { stop })
    }

    /// Also stop at ‖r‖ ≤ `share` · ‖x − b‖; see [`CgSettings::with_correction_tolerance`].
    ///
    /// # Errors
    /// A share outside its range.
    pub fn with_correction_tolerance(self, share: f32) -> Result<Self, ConfigError> {
        self.stop.with_correction_tolerance(share).map(|stop| Self { stop })
    }
}

/// `x = Σ_k (I − A)^k b`, with `A = I + H/(λ+δ)` the series `Σ_k (−H/(λ+δ))^k b`
/// (Lorraine, Vicol, Duvenaud 2020).
///
/// Converges where the eigenvalues of A lie in (0, 2), that is ‖H‖ < λ + δ for a positive H. The
/// term that would be added next is exactly the residual of the present sum, `b − A x = (I −
/// A)^{k+1} b`: every product measures x before it extends it, and the product that ends the solve
/// adds nothing.
///
/// One term that is longer than the one before proves divergence. With M = I − A symmetric,
/// `‖M^k b‖² = (M^{k−1} b)ᵀ(M^{k+1} b) ≤ ‖M^{k−1} b‖ ‖M^{k+1} b‖`, so the ratio of successive norms
/// never falls and all later terms are longer still. The solve then ends in
/// [`Termination::Diverging`]; x is the sum that has been measured, without the longer term.
///
/// `Residual` holds b on entry and is consumed; `Solution` holds x at the end; `Direction` keeps b
/// for bᵀx, `Product` is scratch. One product and two replies with scalars an iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Neumann {
    settings: NeumannSettings,
    ticket: Ticket,
    state: State,
    /// Its residual is the newest term.
    measured: Measured,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    FirstTerm,
    KeepRightHandSide,
    RightHandSide,
    Product,
    Curvature,
    NextTerm,
    TermNorm,
    Solution,
    Done(Termination),
}

impl Neumann {
    /// A solve that has not begun.
    pub fn new(settings: NeumannSettings) -> Self {
        let (ticket, measured) = (Ticket::default(), Measured::default());
        Self { settings, ticket, state: State::FirstTerm, measured }
    }

    fn output(&self) -> Option<Report> {
        match self.state {
            State::Done(termination) => Some(self.measured.report(termination)),
            _ => None,
        }
    }

    fn advance(&mut self, _: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::FirstTerm => State::KeepRightHandSide,
            State::KeepRightHandSide => State::RightHandSide,
            State::RightHandSide => match self.measured.on_right_hand_side(front(scalars)?) {
                Some(termination) => State::Done(termination),
                None => State::Product,
            },
            State::Product => State::Curvature,
            State::Curvature => self.on_curvature(front(scalars)?),
            State::NextTerm => State::TermNorm,
            State::TermNorm => self.on_term_norm(front(scalars)?),
            State::Solution => State::Product,
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    fn on_curvature(&mut self, [curvature, solution_sq, alignment]: [f32; 3]) -> State {
        let measured = &mut self.measured;
        measured.products += 1;
        (measured.solution_sq, measured.alignment) = (solution_sq, alignment);
        let finite = solution_sq.is_finite() && alignment.is_finite();
        if measured.rayleigh.see(curvature, measured.residual_sq) && finite {
            State::NextTerm
        } else {
            State::Done(Termination::NonFinite)
        }
    }

    fn on_term_norm(&mut self, [term_sq]: [f32; 1]) -> State {
        let (stop, measured) = (self.settings.stop, &mut self.measured);
        let before_sq = measured.residual_sq;
        measured.residual_sq = term_sq;
        if !term_sq.is_finite() {
            State::Done(Termination::NonFinite)
        } else if stop.reached(term_sq, measured.solution_sq, measured.correction_sq()) {
            State::Done(Termination::Converged)
        } else if term_sq > before_sq {
            State::Done(Termination::Diverging)
        } else if measured.products >= stop.iterations_max() {
            State::Done(Termination::IterationLimit)
        } else {
            State::Solution
        }
    }
}

impl LinearSolver for Neumann {
    type Settings = NeumannSettings;
    type Memory = ();

    fn begin(settings: NeumannSettings, (): ()) -> Self {
        Self::new(settings)
    }

    fn request(&self) -> Request {
        match self.state {
            State::FirstTerm => Request::Copy { src: Residual, dst: Solution },
            State::KeepRightHandSide => Request::Copy { src: Residual, dst: Direction },
            State::RightHandSide => Request::Dots { pairs: Pairs::new([(Residual, Residual)]) },
            State::Product => Request::Apply { src: Residual, dst: Product },
            State::Curvature => Request::Dots {
                pairs: Pairs::new([
                    (Residual, Product),
                    (Solution, Solution),
                    (Direction, Solution),
                ]),
            },
            State::NextTerm => Request::Axpby { a: -1.0, x: Product, b: 1.0, y: Residual },
            State::TermNorm | State::Done(_) => {
                Request::Dots { pairs: Pairs::new([(Residual, Residual)]) }
            }
            State::Solution => Request::Axpby { a: 1.0, x: Residual, b: 1.0, y: Solution },
        }
    }

    fn facts(_: &NeumannSettings) -> SolverFacts {
        SolverFacts { stops_by_tolerance: true, ..SolverFacts::PLAIN }
    }
}

machine!(Neumann => Report);
