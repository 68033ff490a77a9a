//! A low-rank stand-in for the curvature, from a few products with random vectors.

use super::low_rank::{LowRank, negate_after};
use crate::error::at_least_one;
use crate::machine::{forward, front, machine};
use crate::report::Rayleigh;
use crate::{
    Bank, ConfigError, Coupling, LinearSolver, Pairs, Register, Reply, Report, Request,
    SolverFacts, SolverMemory, Termination, Ticket, UnexpectedReply,
};
use Bank::{Basis, BasisProduct};
use Register::{Banked, Direction, Product};

/// How much of the curvature the Nyström approximation sees.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NystromSettings {
    rank: u8,
}

impl NystromSettings {
    /// `rank` k ≥ 1 products an alternation; two vectors of the backbone's length each.
    ///
    /// # Errors
    /// A rank of 0.
    pub fn new(rank: u8) -> Result<Self, ConfigError> {
        at_least_one("rank", rank.into()).map(|_| Self { rank })
    }

    /// k.
    pub fn rank(&self) -> u8 {
        self.rank
    }
}

/// `x = (I + Ê)^{-1} b` with the rank-k Nyström approximation Ê of `E = A − I = H/(λ+δ)`.
///
/// After Hataya, Yamada (2023), with a Gaussian sketch Ω instead of columns of the identity:
/// `Ê = E Ω (ΩᵀE Ω)^{-1} ΩᵀE`. The first solve makes each ω E-conjugate to the directions before
/// it, `p = ω − Σ pⱼ (qⱼᵀω)`, divides p and `q = E p` by √(pᵀq), and keeps both. P then spans what
/// Ω spans, `P = Ω T` with T regular, and PᵀE P = I, so `Ê = E P (PᵀE P)^{-1} PᵀE = Q Qᵀ`: no small
/// system is solved. `I + Q Qᵀ` is inverted once, its factors replace P; later solves cost 2k
/// vector operations. Ê = E, and x exact, where the rank of E is at most k; in f32 a few sketches
/// more than the rank are needed, since as many as the rank are now and then nearly dependent.
///
/// Only for a positive semi-definite H, as that of Gauss-Newton: with pᵀq = 0 then E p = 0, and
/// leaving p out changes nothing. Left out are directions whose pᵀq or whose ‖p‖² is within f32's
/// rounding of 0. Where pᵀq is clearly negative the solve ends with x = b and
/// [`Termination::NegativeCurvature`]; the later solves of the alternation answer x = b without
/// products.
///
/// The sketch is draws 0 to k − 1 of the driver's stream in every alternation, so a change of Ê is
/// one of H and never one of Ω. No product verifies x: the report is [`Termination::Unverified`],
/// its products are k in the solve that prepared and 0 after.
///
/// `Residual` holds b and keeps it; `Solution` holds x at the end. One product and two replies with
/// scalars a direction, then those of the inversion.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Nystrom {
    rank: u8,
    count: u8,
    ticket: Ticket,
    state: State,
    rayleigh: Rayleigh,
    products: u16,
    indefinite: bool,
}

/// What is awaited; `draw` is the number of the sketch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Sketch { draw: u8 },
    Overlaps { draw: u8 },
    Conjugate { draw: u8, sketch_sq: f32 },
    Product { draw: u8, sketch_sq: f32 },
    WithoutIdentity { draw: u8, sketch_sq: f32 },
    Curvature { draw: u8, sketch_sq: f32 },
    Keep { draw: u8, factor: f32 },
    KeepProduct { draw: u8, factor: f32 },
    Solve(LowRank),
    NonFinite,
}

/// Share of ‖A‖ ‖p‖² below which pᵀE p is rounding.
///
/// A product's rounding e is of about half this share of ‖A p‖. A direction of nothing else, kept,
/// adds ‖e‖²/pᵀE p to Ê: less than f32 resolves in A.
const RESOLUTION: f32 = f32::EPSILON;

/// Share of ‖ω‖² below which ‖p‖² is mostly rounding: p would not be conjugate to anything.
const CANCELLED: f32 = 1e-6;

impl Nystrom {
    /// A solve that has not begun; `memory` is that of the solve before, with the same A.
    pub fn new(settings: NystromSettings, memory: SolverMemory) -> Self {
        let state = if memory.prepared {
            State::Solve(LowRank::prepared(memory.count))
        } else {
            State::Sketch { draw: 0 }
        };
        Self {
            rank: settings.rank,
            count: 0,
            ticket: Ticket::default(),
            state,
            rayleigh: Rayleigh::default(),
            products: 0,
            indefinite: false,
        }
    }

    /// What the next solve goes on with; complete at the end, and empty where the preparation was
    /// not finite.
    pub fn memory(&self) -> SolverMemory {
        SolverMemory::prepared(match self.state {
            State::Solve(solve) => solve.kept(),
            _ => None,
        })
    }

    fn output(&self) -> Option<Report> {
        let solve = match self.state {
            State::Solve(solve) => solve.output()?,
            State::NonFinite => Report::without_products(Termination::NonFinite, 0.0, [0.0; 2]),
            _ => return None,
        };
        let termination = match solve.termination {
            Termination::NonFinite => Termination::NonFinite,
            _ if self.indefinite => Termination::NegativeCurvature,
            other => other,
        };
        Some(Report {
            termination,
            products: self.products,
            rayleigh_max: self.rayleigh.max(),
            rayleigh_min: self.rayleigh.min(),
            ..solve
        })
    }

    fn advance(&mut self, reply: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Sketch { draw } => State::Overlaps { draw },
            State::Overlaps { draw } => self.on_overlaps(draw, front(scalars)?, scalars),
            State::Conjugate { draw, sketch_sq } => State::Product { draw, sketch_sq },
            State::Product { draw, sketch_sq } => State::WithoutIdentity { draw, sketch_sq },
            State::WithoutIdentity { draw, sketch_sq } => State::Curvature { draw, sketch_sq },
            State::Curvature { draw, sketch_sq } => {
                self.on_curvature(draw, sketch_sq, front(scalars)?)
            }
            State::Keep { draw, factor } => State::KeepProduct { draw, factor },
            State::KeepProduct { draw, .. } => {
                self.count += 1;
                self.after_sketch(draw)
            }
            State::Solve(mut solve) => {
                forward(&mut solve, reply, scalars)?;
                State::Solve(solve)
            }
            State::NonFinite => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    /// Takes ‖ω‖² and Qᵀω; leaves −Qᵀω, the coefficients of the conjugation.
    fn on_overlaps(&self, draw: u8, [sketch_sq]: [f32; 1], scalars: &mut [f32]) -> State {
        negate_after(1, scalars, self.count.into());
        if sketch_sq.is_finite() { State::Conjugate { draw, sketch_sq } } else { State::NonFinite }
    }

    /// Takes pᵀE p and ‖p‖².
    fn on_curvature(
        &mut self,
        draw: u8,
        sketch_sq: f32,
        [excess, direction_sq]: [f32; 2],
    ) -> State {
        self.products += 1;
        if direction_sq <= CANCELLED * sketch_sq {
            return self.after_sketch(draw);
        }
        if !self.rayleigh.see(excess + direction_sq, direction_sq) {
            return State::NonFinite;
        }
        // Products come with a rounding of the size of A p, whatever is left of it without p.
        let Some(largest) = self.rayleigh.max() else { return State::NonFinite };
        let rounding = RESOLUTION * largest * direction_sq;
        if excess > rounding {
            State::Keep { draw, factor: 1.0 / libm::sqrtf(excess) }
        } else if excess < -rounding {
            self.indefinite = true;
            State::Solve(LowRank::preparing(BasisProduct, 1.0, 0))
        } else {
            self.after_sketch(draw)
        }
    }

    /// The next sketch, or the solve where there is none.
    fn after_sketch(&self, draw: u8) -> State {
        if draw + 1 < self.rank {
            State::Sketch { draw: draw + 1 }
        } else {
            State::Solve(LowRank::preparing(BasisProduct, 1.0, self.count))
        }
    }
}

impl LinearSolver for Nystrom {
    type Settings = NystromSettings;
    type Memory = SolverMemory;

    fn begin(settings: NystromSettings, memory: SolverMemory) -> Self {
        Self::new(settings, memory)
    }

    fn request(&self) -> Request {
        let count = self.count;
        match self.state {
            State::Sketch { draw } => Request::Sketch { dst: Direction, index: draw.into() },
            State::Overlaps { .. } => {
                let pairs = Pairs::new([(Direction, Direction)]);
                Request::BasisDots { pairs, bank: BasisProduct, count, x: Direction }
            }
            State::Conjugate { .. } => {
                Request::Combine { bank: Basis, count, b: 1.0, y: Direction }
            }
            State::Product { .. } => Request::Apply { src: Direction, dst: Product },
            State::WithoutIdentity { .. } => {
                Request::Axpby { a: -1.0, x: Direction, b: 1.0, y: Product }
            }
            State::Curvature { .. } | State::NonFinite => {
                Request::Dots { pairs: Pairs::new([(Direction, Product), (Direction, Direction)]) }
            }
            State::Keep { factor, .. } => {
                Request::Axpby { a: factor, x: Direction, b: 0.0, y: Banked(Basis, count) }
            }
            State::KeepProduct { factor, .. } => {
                Request::Axpby { a: factor, x: Product, b: 0.0, y: Banked(BasisProduct, count) }
            }
            State::Solve(solve) => solve.request(),
        }
    }

    fn facts(settings: &NystromSettings) -> SolverFacts {
        SolverFacts {
            basis: settings.rank,
            basis_products: settings.rank,
            needs_semidefinite: true,
            ..SolverFacts::PLAIN
        }
    }

    fn memory(&self) -> SolverMemory {
        self.memory()
    }

    fn check(_: &NystromSettings, coupling: Coupling) -> Result<(), ConfigError> {
        match coupling {
            Coupling::Proximity { .. } => Ok(()),
            Coupling::General => Err(ConfigError::NeedsProximity { solver: "nystrom" }),
        }
    }
}

machine!(Nystrom => Report);
