//! Requests, replies, and the vectors they name.

use core::fmt;

use crate::{StepRecord, UpperRecord};

/// A set of parameters that is trained together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Group {
    /// θ_P.
    LowerBackbone,
    /// φ_P.
    PretextHead,
    /// θ_D.
    UpperBackbone,
    /// φ_D.
    DownstreamHead,
}

/// A bank of vectors of the backbone's length, for solvers that keep several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Bank {
    /// Kept directions (or kept gradients).
    Basis,
    /// The operator applied to them.
    BasisProduct,
}

/// A vector that the driver owns and the machines name.
///
/// `Solution`, `Residual`, `Direction` and `Product` have the backbone's length and serve every
/// phase in turn: the lower gradient lives in `Residual` (and θ_P − θ_D in `Direction`) while no
/// solve runs, so a bilevel stage needs four work vectors and not seven. On a problem with
/// [`Coupling::General`](crate::Coupling::General) they have the length of the lower variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Register {
    /// The parameters of a group.
    Parameter(Group),
    /// Its momentum, or Adam's first moment.
    Momentum(Group),
    /// Adam's second moment.
    SecondMoment(Group),
    /// x, the solver's iterate; at the end of a hypergradient, G_θ.
    Solution,
    /// r, on entry of a solve the right-hand side; in the lower phase the lower gradient.
    Residual,
    /// p, the search direction; in the lower phase θ_P − θ_D.
    Direction,
    /// A p; after the solve g_D.
    Product,
    /// Gradient of the pretext head.
    PretextHeadGradient,
    /// Gradient of the downstream head; in the upper phase G_φ.
    DownstreamHeadGradient,
    /// The direct term of G_φ before it is added.
    DownstreamHeadDirect,
    /// The hypergradient of a general problem, of the upper variable's length.
    Hypergradient,
    /// The direct gradient of a general problem, of the upper variable's length.
    DirectGradient,
    /// One vector of a bank.
    Banked(Bank, u8),
}

/// At most [`Pairs::CAPACITY`] pairs of registers whose dots travel in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pairs {
    pairs: [(Register, Register); Self::CAPACITY],
    count: u8,
}

impl Pairs {
    /// The most dots one request carries.
    pub const CAPACITY: usize = 4;

    /// No pairs: for a [`Request::BasisDots`] that asks for the bank's dots alone.
    pub const NONE: Self =
        Self { pairs: [(Register::Residual, Register::Residual); Self::CAPACITY], count: 0 };

    /// The given pairs, in order. `N` is checked when the caller is compiled.
    pub const fn new<const N: usize>(given: [(Register, Register); N]) -> Self {
        const { assert!(N >= 1 && N <= Self::CAPACITY, "one to CAPACITY pairs") };
        let mut pairs = [given[0]; Self::CAPACITY];
        let mut i = 1;
        while i < N {
            pairs[i] = given[i];
            i += 1;
        }
        Self { pairs, count: N as u8 }
    }

    /// The pairs, in the order of their scalars.
    pub fn as_slice(&self) -> &[(Register, Register)] {
        self.pairs.get(..usize::from(self.count)).unwrap_or(&[])
    }
}

/// Which gradient is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Evaluation {
    /// L^P at (θ_P, φ_P); without the proximity term, which the machine adds.
    Lower,
    /// L^D at (θ_P, φ_D).
    UpperAtLower,
    /// L^D at (θ_D, φ_D).
    UpperAtUpper,
}

/// One operation that the driver performs.
///
/// In the vector operations a coefficient of exactly 0 means that its vector is *not read* (it may
/// be uninitialised or NaN), as in BLAS. "Scalars" is the workspace that the caller passes along;
/// `S` is the number of segments (parameter tensors) of the register, a table of the driver.
///
/// Between two [events](Event) the workspace is the machine's: a driver writes no more of it than
/// the scalars of its reply, and whoever puts a machine aside inside a step keeps the workspace
/// with it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Request {
    /// `dst ← 0`. Reply: `Ack`.
    Zero {
        /// Overwritten.
        dst: Register,
    },
    /// `dst ← src`. Reply: `Ack`.
    Copy {
        /// Read.
        src: Register,
        /// Overwritten.
        dst: Register,
    },
    /// `y ← a x + b y`. Reply: `Ack`.
    Axpby {
        /// Factor of `x`.
        a: f32,
        /// Read.
        x: Register,
        /// Factor of `y`.
        b: f32,
        /// Updated.
        y: Register,
    },
    /// `scalars[i] ← xᵢ · yᵢ`. Reply: `Scalars(number of pairs)`.
    Dots {
        /// The operands.
        pairs: Pairs,
    },
    /// `scalars[i] ← xᵢ · yᵢ` for the `m` pairs, then `scalars[m + i] ← bankᵢ · x` for `i < count`.
    /// Reply: `Scalars(m + count)`.
    BasisDots {
        /// Dots that travel with those of the bank; may be [`Pairs::NONE`].
        pairs: Pairs,
        /// Left operands.
        bank: Bank,
        /// How many of them.
        count: u8,
        /// Right operand.
        x: Register,
    },
    /// `y ← b y + Σ_{i < count} scalars[i] bankᵢ`. Reply: `Ack`.
    Combine {
        /// The vectors that are combined.
        bank: Bank,
        /// How many of them.
        count: u8,
        /// Factor of `y`.
        b: f32,
        /// Updated.
        y: Register,
    },
    /// `scalars[i·S + s] ← xᵢ · yᵢ` over segment `s`. Reply: `Scalars(S · number of pairs)`.
    SegmentDots {
        /// The operands; all registers of one space.
        pairs: Pairs,
    },
    /// `y ← scalars[s] x + b y` on every segment `s`. Reply: `Ack`.
    SegmentAxpby {
        /// Read.
        x: Register,
        /// Factor of `y`, the same on all segments.
        b: f32,
        /// Updated.
        y: Register,
    },
    /// AdamW's elementwise update of one group. Reply: `Ack`.
    Adam {
        /// The group; its parameters, momentum and second moment are updated.
        group: Group,
        /// The gradient.
        gradient: Register,
        /// The recurrence's factors.
        coefficients: crate::AdamCoefficients,
    },
    /// `dst ←` standard normal draw number `index`. Reply: `Ack`.
    Sketch {
        /// Overwritten.
        dst: Register,
        /// Index into the driver's sketch stream.
        index: u32,
    },
    /// `dst ← A src`, asked by a solver on its own. Reply: `Ack`.
    Apply {
        /// Read.
        src: Register,
        /// Overwritten.
        dst: Register,
    },
    /// A gradient on batch `index` of its level. Reply: `Scalars(1)`, the loss.
    Gradient {
        /// Which loss, at which parameters.
        evaluation: Evaluation,
        /// Step number within the stage; it determines the batch.
        index: u32,
        /// Where the backbone's gradient goes; `None`: the backbone is frozen.
        backbone: Option<Register>,
        /// Where the head's gradient goes.
        head: Register,
    },
    /// Fix θ_P and the pretext batch of the coming products. Reply: `Ack`.
    Linearize {
        /// Number of the alternation; it determines the batch.
        index: u32,
    },
    /// `dst ← H src` on the linearised batch. Reply: `Ack`.
    Product {
        /// Read.
        src: Register,
        /// Overwritten.
        dst: Register,
    },
    /// `dst ← −(∂²L^P/∂upper ∂lower) src`, general problems only. Reply: `Ack`.
    CrossProduct {
        /// Of the lower variable's length.
        src: Register,
        /// Of the upper variable's length.
        dst: Register,
    },
}

impl Request {
    /// What it is answered with; `None` where that depends on the driver's segments.
    pub(crate) fn answer(&self) -> Option<Reply> {
        Some(match self {
            Self::Dots { pairs } => Reply::Scalars(pairs.count.into()),
            Self::BasisDots { pairs, count, .. } => {
                Reply::Scalars(u32::from(pairs.count) + u32::from(*count))
            }
            Self::Gradient { .. } => Reply::Scalars(1),
            Self::SegmentDots { .. } => return None,
            Self::Zero { .. }
            | Self::Copy { .. }
            | Self::Axpby { .. }
            | Self::Combine { .. }
            | Self::SegmentAxpby { .. }
            | Self::Adam { .. }
            | Self::Sketch { .. }
            | Self::Apply { .. }
            | Self::Linearize { .. }
            | Self::Product { .. }
            | Self::CrossProduct { .. } => Reply::Ack,
        })
    }
}

/// The driver's answer. The scalars themselves are in the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reply {
    /// Done.
    Ack,
    /// Done; this many scalars were written to the front of the workspace.
    Scalars(u32),
}

/// Identity of one request; its reply must carry the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ticket(u32);

impl Ticket {
    /// The ticket after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A point where a driver may inspect the machine, write a checkpoint, or stop.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A step of plain descent, or a lower step, was taken.
    Step(StepRecord),
    /// An upper step was taken.
    UpperStep(UpperRecord),
    /// Alternation `index` (from 0) is complete.
    Alternation {
        /// Its number.
        index: u32,
    },
}

/// What a machine waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pending<O> {
    /// Perform this and reply.
    Request(Ticket, Request),
    /// Look at this and reply `Ack`.
    Event(Ticket, Event),
    /// The machine has ended; this is the result.
    Done(O),
}

/// A state machine that asks for one operation at a time.
///
/// *Invariant:* a machine is plain data. It may be copied, compared, stored and put aside between
/// any two replies; the same replies lead to the same requests, bit for bit.
pub trait Machine {
    /// The result.
    type Output: Copy;

    /// What it waits for. Asking twice gives the same answer.
    fn pending(&self) -> Pending<Self::Output>;

    /// Takes the reply to the pending request.
    ///
    /// `scalars` is the workspace of the caller, at least as long as the longest reply: it holds
    /// the reply's scalars on entry and may hold coefficients of the next request on return.
    ///
    /// # Errors
    /// [`UnexpectedReply`] if ticket, kind or count is not what was asked for; nothing has changed
    /// then.
    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply>;
}

/// A reply that does not fit the pending request; the machine has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnexpectedReply {
    /// The reply belongs to another request.
    WrongTicket {
        /// The pending ticket.
        expected: Ticket,
        /// The reply's.
        found: Ticket,
    },
    /// The wrong kind of reply, or the wrong number of scalars.
    WrongReply {
        /// What the pending request is answered with.
        expected: Reply,
        /// What came.
        found: Reply,
    },
    /// The workspace is shorter than the scalars it should hold.
    ShortWorkspace {
        /// Scalars needed.
        needed: u32,
        /// Its length.
        found: u32,
    },
    /// The machine had ended.
    Ended,
}

impl fmt::Display for UnexpectedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongTicket { expected, found } => {
                write!(f, "reply to request {}, expected {}", found.0, expected.0)
            }
            Self::WrongReply { expected, found } => {
                write!(f, "reply {found:?}, expected {expected:?}")
            }
            Self::ShortWorkspace { needed, found } => {
                write!(f, "workspace of {found} scalars, needed {needed}")
            }
            Self::Ended => write!(f, "reply after the end"),
        }
    }
}

impl core::error::Error for UnexpectedReply {}
