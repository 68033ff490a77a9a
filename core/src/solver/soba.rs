//! One gradient step on the linear system a solve, from where the last solve ended.

use crate::error::check;
use crate::machine::{front, machine};
use crate::report::Rayleigh;
use crate::{
    Bank, ConfigError, LinearSolver, Pairs, Register, Reply, Report, Request, SolverFacts,
    SolverMemory, Termination, Ticket, UnexpectedReply,
};
use Register::{Banked, Product, Residual, Solution};

/// How far one step of [`Soba`] goes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SobaSettings {
    step: f32,
}

impl SobaSettings {
    /// `step` ρ in `(0, 1]`. With A and b fixed, x converges where ρ < 2/‖A‖, A positive definite.
    ///
    /// # Errors
    /// A step outside its range.
    pub fn new(step: f32) -> Result<Self, ConfigError> {
        check("step", step, step > 0.0 && step <= 1.0, "(0, 1]").map(|step| Self { step })
    }
}

/// Holds x between solves.
const KEPT: Register = Banked(Bank::Basis, 0);

/// `x ← x − ρ (A x − b)`, once a solve, x kept from solve to solve
/// (Dagréou, Ablin, Vaiter, Moreau 2022, SOBA: the recurrence of v).
///
/// x follows the solution of a system that changes slowly, over upper steps and over alternations:
/// unlike what recycling keeps, it survives a new linearisation. The first solve starts from b.
///
/// `Residual` holds b; `Solution` holds x at the end; `Product` is scratch; `Direction` is not
/// touched. `Banked(Basis, 0)` keeps x between solves, a vector of the backbone's length that
/// every checkpoint has to hold. One product and two replies with scalars a solve.
///
/// The product measures the x of the solve before, on this solve's A and b, and not the x that is
/// returned. The report therefore ends in [`Termination::IterationLimit`], the one product being
/// used up, without a residual. Only where the measured residual is exactly 0, so that x stays, is
/// it [`Termination::Converged`]. A solve that is not finite drops the kept x: the next one starts
/// from b.
///
/// Departure from the paper: only this recurrence is theirs; the lower and the upper variable move
/// as in BiSSL.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Soba {
    settings: SobaSettings,
    memory: SolverMemory,
    ticket: Ticket,
    state: State,
    rhs_sq: f32,
    solution_sq: f32,
    alignment: f32,
    rayleigh: Rayleigh,
    products: u16,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Start,
    Product,
    Curvature,
    Residual,
    Solution,
    Norms,
    Keep(Termination),
    Done(Termination),
}

impl Soba {
    /// A solve that has not begun; `memory` is that of the solve before, with any A.
    pub fn new(settings: SobaSettings, memory: SolverMemory) -> Self {
        Self {
            settings,
            memory,
            ticket: Ticket::default(),
            state: State::Start,
            rhs_sq: 0.0,
            solution_sq: 0.0,
            alignment: 0.0,
            rayleigh: Rayleigh::default(),
            products: 0,
        }
    }

    /// What the next solve continues with.
    pub fn memory(&self) -> SolverMemory {
        self.memory
    }

    fn output(&self) -> Option<Report> {
        let State::Done(termination) = self.state else { return None };
        Some(Report {
            termination,
            products: self.products,
            rhs_sq: self.rhs_sq,
            solution_sq: self.solution_sq,
            residual_sq: (termination == Termination::Converged).then_some(0.0),
            alignment: self.alignment,
            rayleigh_max: self.rayleigh.max(),
            rayleigh_min: self.rayleigh.min(),
        })
    }

    fn advance(&mut self, _: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Start => State::Product,
            State::Product => State::Curvature,
            State::Curvature => self.on_curvature(front(scalars)?),
            State::Residual => State::Solution,
            State::Solution => State::Norms,
            State::Norms => self.on_norms(front(scalars)?),
            State::Keep(termination) => {
                self.memory = SolverMemory { count: 1, ..SolverMemory::default() };
                State::Done(termination)
            }
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    fn not_finite(&mut self) -> State {
        self.memory = SolverMemory::default();
        State::Done(Termination::NonFinite)
    }

    fn on_curvature(&mut self, [curvature, solution_sq, rhs_sq]: [f32; 3]) -> State {
        self.products += 1;
        self.rhs_sq = rhs_sq;
        // x = 0 is a start like any other, but it gives no quotient.
        let seen = solution_sq == 0.0 || self.rayleigh.see(curvature, solution_sq);
        if seen && rhs_sq.is_finite() { State::Residual } else { self.not_finite() }
    }

    fn on_norms(&mut self, [residual_sq, solution_sq, alignment]: [f32; 3]) -> State {
        self.solution_sq = solution_sq;
        self.alignment = alignment;
        if !(residual_sq.is_finite() && solution_sq.is_finite() && alignment.is_finite()) {
            self.not_finite()
        } else if residual_sq == 0.0 {
            State::Keep(Termination::Converged)
        } else {
            State::Keep(Termination::IterationLimit)
        }
    }
}

impl LinearSolver for Soba {
    type Settings = SobaSettings;
    type Memory = SolverMemory;

    fn begin(settings: SobaSettings, memory: SolverMemory) -> Self {
        Self::new(settings, memory)
    }

    fn request(&self) -> Request {
        match self.state {
            State::Start => {
                let src = if self.memory.count == 0 { Residual } else { KEPT };
                Request::Copy { src, dst: Solution }
            }
            State::Product => Request::Apply { src: Solution, dst: Product },
            State::Curvature => Request::Dots {
                pairs: Pairs::new([
                    (Solution, Product),
                    (Solution, Solution),
                    (Residual, Residual),
                ]),
            },
            // Formed before it is scaled, so that an exact solution stays to the last bit.
            State::Residual => Request::Axpby { a: 1.0, x: Residual, b: -1.0, y: Product },
            State::Solution => {
                Request::Axpby { a: self.settings.step, x: Product, b: 1.0, y: Solution }
            }
            State::Norms => Request::Dots {
                pairs: Pairs::new([(Product, Product), (Solution, Solution), (Residual, Solution)]),
            },
            State::Keep(_) | State::Done(_) => Request::Copy { src: Solution, dst: KEPT },
        }
    }

    fn facts(_: &SobaSettings) -> SolverFacts {
        SolverFacts { basis: 1, lasting_registers: &[KEPT], ..SolverFacts::PLAIN }
    }

    fn memory(&self) -> SolverMemory {
        self.memory()
    }

    /// All of it: the next solve continues from x.
    fn relinearized(_: &SobaSettings, memory: SolverMemory) -> SolverMemory {
        memory
    }
}

machine!(Soba => Report);
