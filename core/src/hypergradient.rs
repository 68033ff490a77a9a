//! The upper gradient through the implicit function theorem.

use crate::error::{check, get, non_negative, positive};
use crate::machine::{forward, front, machine};
use crate::{
    CgSettings, ConfigError, ConjugateGradient, Evaluation, LinearSolver, Register, Reply, Report,
    Request, Solver, SolverSettings, Termination, Ticket, UnexpectedReply,
};
use Register::{
    DirectGradient, DownstreamHeadDirect, DownstreamHeadGradient, Product, Residual, Solution,
};

/// How the upper variable enters the lower problem.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Coupling {
    /// Through (λ/2)‖θ_P − θ_D‖² (BiSSL): `A v = v + H v/(λ + δ)`, and x is the implicit term.
    Proximity {
        /// λ > 0.
        weight: f32,
    },
    /// In any other way: `A v = H v + δ v` with H the whole lower Hessian, and the implicit term is
    /// `−(∂²L/∂upper ∂lower) x`, asked for as [`Request::CrossProduct`].
    General,
}

/// What a hypergradient is computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = ""))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HypergradientSettings<S: LinearSolver = Solver> {
    coupling: Coupling,
    damping: f32,
    direct_weight: f32,
    solver: S::Settings,
}

impl HypergradientSettings {
    /// With a solver that is chosen when the program runs; otherwise the same as
    /// [`with_solver`](Self::with_solver).
    ///
    /// # Errors
    /// Those of [`with_solver`](Self::with_solver).
    pub fn new(
        coupling: Coupling,
        damping: f32,
        direct_weight: f32,
        solver: SolverSettings,
    ) -> Result<Self, ConfigError> {
        Self::with_solver(coupling, damping, direct_weight, solver)
    }
}

impl HypergradientSettings<ConjugateGradient> {
    /// With plain conjugate gradients, also in a constant; otherwise the same as
    /// [`with_solver`](Self::with_solver).
    ///
    /// # Errors
    /// Those of [`with_solver`](Self::with_solver).
    pub const fn with_conjugate_gradient(
        coupling: Coupling,
        damping: f32,
        direct_weight: f32,
        solver: CgSettings,
    ) -> Result<Self, ConfigError> {
        get!(weights(coupling, damping, direct_weight));
        Ok(Self { coupling, damping, direct_weight, solver })
    }
}

/// Refuses weights that are out of their range.
const fn weights(coupling: Coupling, damping: f32, direct_weight: f32) -> Result<(), ConfigError> {
    if let Coupling::Proximity { weight } = coupling {
        get!(positive("proximity", weight));
        get!(check("damping", damping, (weight + damping).is_finite(), "finite with proximity"));
    }
    get!(non_negative("damping", damping));
    get!(non_negative("direct_weight", direct_weight));
    Ok(())
}

impl<S: LinearSolver> HypergradientSettings<S> {
    /// `damping` δ ≥ 0; `direct_weight` γ ≥ 0, and at 0 the direct term is not evaluated; `solver`
    /// are the settings of S.
    ///
    /// # Errors
    /// The setting that is out of its range; a solver that does not fit the coupling: `mfac` with a
    /// proximity other than the coupling's, `mfac` or `nystrom` with a general one.
    pub fn with_solver(
        coupling: Coupling,
        damping: f32,
        direct_weight: f32,
        solver: S::Settings,
    ) -> Result<Self, ConfigError> {
        weights(coupling, damping, direct_weight)?;
        S::check(&solver, coupling)?;
        Ok(Self { coupling, damping, direct_weight, solver })
    }

    /// λ, where the coupling is by proximity.
    pub const fn proximity(&self) -> Option<f32> {
        match self.coupling {
            Coupling::Proximity { weight } => Some(weight),
            Coupling::General => None,
        }
    }

    /// The solver's settings; of a [`Solver`], which one it is, too.
    pub fn solver(&self) -> S::Settings {
        self.solver
    }

    /// Whether products are asked for.
    pub fn uses_products(&self) -> bool {
        S::facts(&self.solver).uses_products
    }

    /// Lower gradients that the solver takes from the lower phase.
    pub(crate) fn gradients(&self) -> u8 {
        S::facts(&self.solver).gradients
    }

    /// `(s, t)` of `A = s H + t I`.
    fn operator(&self) -> (f32, f32) {
        match self.coupling {
            Coupling::Proximity { weight } => (1.0 / (weight + self.damping), 1.0),
            Coupling::General => (1.0, self.damping),
        }
    }

    /// Where the gradient with respect to the upper variable ends up.
    pub fn result(&self) -> Register {
        match self.coupling {
            Coupling::Proximity { .. } => Solution,
            Coupling::General => Register::Hypergradient,
        }
    }

    fn direct(&self) -> Register {
        match self.coupling {
            Coupling::Proximity { .. } => Product,
            Coupling::General => DirectGradient,
        }
    }
}

/// What one hypergradient found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HypergradientRecord {
    /// The solve's report; Rayleigh quotients are those of H.
    pub solve: Report,
    /// L^D at (θ_P, φ_D).
    pub loss_at_lower: f32,
    /// L^D at (θ_D, φ_D); `None` where γ = 0 or the solve was not finite.
    pub loss_at_upper: Option<f32>,
}

/// `G_θ = Jᵀ g_P + γ g_D` and `G_φ`, on one downstream batch.
///
/// `Jᵀ = (I + H/(λ+δ))^{-1}`, `g_P` the downstream gradient at (θ_P, φ_D), `g_D` at (θ_D, φ_D)
/// (arXiv 2410.02387, eqs. 6 to 8). G_θ ends in [`HypergradientSettings::result`], G_φ in
/// `DownstreamHeadGradient`. Four registers of the backbone's length and two of the head's.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = ""))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hypergradient<S: LinearSolver = Solver> {
    settings: HypergradientSettings<S>,
    index: u32,
    ticket: Ticket,
    state: State<S>,
    memory: S::Memory,
    loss_at_lower: f32,
    loss_at_upper: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = ""))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State<S: LinearSolver> {
    GradientAtLower,
    Solve { solver: S, apply: Apply },
    CrossProduct(Report),
    GradientAtUpper(Report),
    AddBackbone(Report),
    AddHead(Report),
    Done(Report),
}

/// How far the lowering of one `Apply` has come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Apply {
    Product,
    Shift,
}

impl<S: LinearSolver> Hypergradient<S> {
    /// The hypergradient of upper step `index`, not begun.
    pub fn new(settings: HypergradientSettings<S>, index: u32) -> Self {
        Self {
            settings,
            index,
            ticket: Ticket::default(),
            state: State::GradientAtLower,
            memory: S::Memory::default(),
            loss_at_lower: 0.0,
            loss_at_upper: None,
        }
    }

    /// The same, continuing with what the previous solve has left in the banks.
    ///
    /// For the same linearisation; after a new one, [`LinearSolver::relinearized`] says what
    /// remains.
    #[must_use]
    pub fn with_memory(self, memory: S::Memory) -> Self {
        Self { memory, ..self }
    }

    /// What the next hypergradient on the same linearisation continues with; complete at the end.
    pub fn memory(&self) -> S::Memory {
        self.memory
    }

    /// The pending request; after the end, the last one.
    pub(crate) fn request(&self) -> Request {
        let weight = self.settings.direct_weight;
        match self.state {
            State::GradientAtLower => Request::Gradient {
                evaluation: Evaluation::UpperAtLower,
                index: self.index,
                backbone: Some(Residual),
                head: DownstreamHeadGradient,
            },
            State::Solve { solver, apply } => match (solver.request(), apply) {
                (Request::Apply { src, dst }, Apply::Product) => Request::Product { src, dst },
                (Request::Apply { src, dst }, Apply::Shift) => {
                    let (scale, shift) = self.settings.operator();
                    Request::Axpby { a: shift, x: src, b: scale, y: dst }
                }
                (request, _) => request,
            },
            State::CrossProduct(_) => {
                Request::CrossProduct { src: Solution, dst: self.settings.result() }
            }
            State::GradientAtUpper(_) => Request::Gradient {
                evaluation: Evaluation::UpperAtUpper,
                index: self.index,
                backbone: Some(self.settings.direct()),
                head: DownstreamHeadDirect,
            },
            State::AddBackbone(_) => Request::Axpby {
                a: weight,
                x: self.settings.direct(),
                b: 1.0,
                y: self.settings.result(),
            },
            State::AddHead(_) | State::Done(_) => Request::Axpby {
                a: weight,
                x: DownstreamHeadDirect,
                b: 1.0,
                y: DownstreamHeadGradient,
            },
        }
    }

    fn output(&self) -> Option<HypergradientRecord> {
        let State::Done(solve) = self.state else { return None };
        let Self { loss_at_lower, loss_at_upper, .. } = *self;
        Some(HypergradientRecord { solve, loss_at_lower, loss_at_upper })
    }

    fn advance(&mut self, reply: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::GradientAtLower => {
                let [loss] = front(scalars)?;
                self.loss_at_lower = loss;
                let solver = S::begin(self.settings.solver, self.memory);
                State::Solve { solver, apply: Apply::Product }
            }
            State::Solve { solver, apply } => self.step_solve(solver, apply, reply, scalars)?,
            State::CrossProduct(report) => self.after_implicit(report),
            State::GradientAtUpper(report) => {
                let [loss] = front(scalars)?;
                self.loss_at_upper = Some(loss);
                State::AddBackbone(report)
            }
            State::AddBackbone(report) => State::AddHead(report),
            State::AddHead(report) => State::Done(report),
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    /// The state after a reply inside the solve.
    fn step_solve(
        &mut self,
        mut solver: S,
        apply: Apply,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<State<S>, UnexpectedReply> {
        if matches!((solver.request(), apply), (Request::Apply { .. }, Apply::Product)) {
            return Ok(State::Solve { solver, apply: Apply::Shift });
        }
        Ok(match forward(&mut solver, reply, scalars)? {
            Some(report) => {
                self.memory = solver.memory();
                self.on_solved(report)
            }
            None => State::Solve { solver, apply: Apply::Product },
        })
    }

    fn on_solved(&self, mut report: Report) -> State<S> {
        let (scale, shift) = self.settings.operator();
        let of_hessian = |quotient: f32| (quotient - shift) / scale;
        report.rayleigh_max = report.rayleigh_max.map(of_hessian);
        report.rayleigh_min = report.rayleigh_min.map(of_hessian);
        if report.termination == Termination::NonFinite {
            State::Done(report)
        } else if self.settings.coupling == Coupling::General {
            State::CrossProduct(report)
        } else {
            self.after_implicit(report)
        }
    }

    fn after_implicit(&self, report: Report) -> State<S> {
        if self.settings.direct_weight > 0.0 {
            State::GradientAtUpper(report)
        } else {
            State::Done(report)
        }
    }
}

machine!(Hypergradient<S: LinearSolver> => HypergradientRecord);
