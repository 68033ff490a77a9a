//! `(I + G Gᵀ/s)^{-1} b` for a few vectors G, without a product.

use crate::machine::{front, machine, move_to_front};
use crate::{Bank, Pairs, Register, Reply, Report, Request, Termination, Ticket, UnexpectedReply};
use Bank::Basis;
use Register::{Banked, Product, Residual, Solution};

/// Solves `(I + Σ gᵢgᵢᵀ/s) x = b` with `count` vectors gᵢ and a shift s > 0.
///
/// *Preparation.* With `Mᵢ = I + Σ_{j ≤ i} gⱼgⱼᵀ/s` and `u = Mᵢ₋₁^{-1} gᵢ`, Sherman and Morrison
/// give `Mᵢ^{-1} = Mᵢ₋₁^{-1} − u uᵀ/(s + gᵢᵀu)`. So with `hᵢ = u/√(s + gᵢᵀu)`, by induction,
///
/// ```text
/// Mᵢ^{-1} = I − Σ_{j ≤ i} hⱼhⱼᵀ,      u = gᵢ − Σ_{j < i} hⱼ (hⱼᵀgᵢ),
/// ```
///
/// which is M-FAC's recursion (Frantar, Kurtic, Alistarh 2021) with its divisors taken into h, so
/// that no scalar has to be kept. hᵢ goes to slot i of `Basis` and may replace gᵢ there: gᵢ is read
/// until then and not after. *Solve.* `x = b − Σ hᵢ (hᵢᵀb)`.
///
/// b lies in `Residual` and stays there, x in `Solution`; the preparation uses `Product` alone. Two
/// replies with scalars a vector, and two for the solve. In exact arithmetic gᵢᵀu ≥ 0, and 0 only
/// where u = 0. So where it is not above 0, u is the rounding of a gᵢ in the span of the others,
/// and hᵢ = 0: anything else would leave an inverse that is not semi-definite, and the next vector
/// would blow it up.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct LowRank {
    count: u8,
    ticket: Ticket,
    state: State,
    rhs_sq: f32,
    solution_sq: f32,
    alignment: f32,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Vector(Preparation),
    Overlaps(Preparation),
    Reduced(Preparation),
    Square(Preparation),
    Kept(Preparation, f32),
    Coordinates,
    RightHandSide,
    Solution,
    Norms,
    Done { termination: Termination, prepared: bool },
}

/// Which vector is being reduced.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Preparation {
    source: Bank,
    shift: f32,
    slot: u8,
}

impl LowRank {
    /// Prepares the first `count` vectors of `source`, then solves; `shift` s > 0.
    pub(crate) fn preparing(source: Bank, shift: f32, count: u8) -> Self {
        let first = Preparation { source, shift, slot: 0 };
        Self { state: State::next(first, count), ..Self::prepared(count) }
    }

    /// Solves with the `count` vectors that an earlier solve has left in `Basis`.
    pub(crate) fn prepared(count: u8) -> Self {
        let (ticket, state) = (Ticket::default(), State::Coordinates);
        Self { count, ticket, state, rhs_sq: 0.0, solution_sq: 0.0, alignment: 0.0 }
    }

    /// Vectors that later solves may go on with; `None` where the preparation failed.
    pub(crate) fn kept(&self) -> Option<u8> {
        match self.state {
            State::Done { prepared, .. } => prepared.then_some(self.count),
            _ => None,
        }
    }

    /// The pending request; after the end, the last one.
    pub(crate) fn request(&self) -> Request {
        match self.state {
            State::Vector(Preparation { source, slot, .. }) => {
                Request::Copy { src: Banked(source, slot), dst: Product }
            }
            State::Overlaps(Preparation { slot, .. }) => {
                let pairs = Pairs::NONE;
                Request::BasisDots { pairs, bank: Basis, count: slot, x: Product }
            }
            State::Reduced(Preparation { slot, .. }) => {
                Request::Combine { bank: Basis, count: slot, b: 1.0, y: Product }
            }
            State::Square(Preparation { source, slot, .. }) => {
                Request::Dots { pairs: Pairs::new([(Banked(source, slot), Product)]) }
            }
            State::Kept(Preparation { slot, .. }, factor) => {
                Request::Axpby { a: factor, x: Product, b: 0.0, y: Banked(Basis, slot) }
            }
            State::Coordinates => {
                let pairs = Pairs::new([(Residual, Residual)]);
                Request::BasisDots { pairs, bank: Basis, count: self.count, x: Residual }
            }
            State::RightHandSide => Request::Copy { src: Residual, dst: Solution },
            State::Solution => {
                Request::Combine { bank: Basis, count: self.count, b: 1.0, y: Solution }
            }
            State::Norms | State::Done { .. } => {
                Request::Dots { pairs: Pairs::new([(Solution, Solution), (Residual, Solution)]) }
            }
        }
    }

    /// The report, once it has ended.
    pub(crate) fn output(&self) -> Option<Report> {
        let State::Done { termination, .. } = self.state else { return None };
        let norms = [self.solution_sq, self.alignment];
        Some(Report::without_products(termination, self.rhs_sq, norms))
    }

    fn advance(&mut self, _: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Vector(preparation) => State::Overlaps(preparation),
            State::Overlaps(preparation) => {
                negate_after(0, scalars, preparation.slot.into());
                State::Reduced(preparation)
            }
            State::Reduced(preparation) => State::Square(preparation),
            State::Square(preparation) => State::on_square(preparation, front(scalars)?),
            State::Kept(preparation, _) => {
                let slot = preparation.slot + 1;
                State::next(Preparation { slot, ..preparation }, self.count)
            }
            State::Coordinates => self.on_coordinates(front(scalars)?, scalars),
            State::RightHandSide => State::Solution,
            State::Solution => State::Norms,
            State::Norms => self.on_norms(front(scalars)?),
            State::Done { .. } => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    /// Takes ‖b‖² and hᵢᵀb; leaves −hᵢᵀb, the coefficients of the correction.
    fn on_coordinates(&mut self, [rhs_sq]: [f32; 1], scalars: &mut [f32]) -> State {
        self.rhs_sq = rhs_sq;
        negate_after(1, scalars, self.count.into());
        if rhs_sq.is_finite() { State::RightHandSide } else { State::non_finite(true) }
    }

    fn on_norms(&mut self, [solution_sq, alignment]: [f32; 2]) -> State {
        self.solution_sq = solution_sq;
        self.alignment = alignment;
        // bᵀx is finite with it: (bᵀx)² ≤ ‖b‖²‖x‖².
        let termination = if !solution_sq.is_finite() {
            Termination::NonFinite
        } else if self.rhs_sq == 0.0 {
            Termination::Converged
        } else {
            Termination::Unverified
        };
        State::Done { termination, prepared: true }
    }
}

impl State {
    /// Reduces this vector, or solves where there is none.
    fn next(preparation: Preparation, count: u8) -> Self {
        if preparation.slot < count { Self::Vector(preparation) } else { Self::Coordinates }
    }

    fn non_finite(prepared: bool) -> Self {
        Self::Done { termination: Termination::NonFinite, prepared }
    }

    /// Takes gᵀu.
    fn on_square(preparation: Preparation, [square]: [f32; 1]) -> Self {
        let divisor = preparation.shift + square;
        if !divisor.is_finite() {
            Self::non_finite(false)
        } else if square > 0.0 {
            Self::Kept(preparation, 1.0 / libm::sqrtf(divisor))
        } else {
            Self::Kept(preparation, 0.0)
        }
    }
}

/// Leaves, negated, the `count` scalars that follow the first `skipped`: what a projection
/// subtracts.
pub(crate) fn negate_after(skipped: usize, scalars: &mut [f32], count: usize) {
    move_to_front(scalars, skipped, count);
    scalars.iter_mut().take(count).for_each(|scalar| *scalar = -*scalar);
}

machine!(LowRank => Report);
