//! Bilevel self-supervised learning (BiSSL, arXiv 2410.02387) as state machines.
//!
//! The crate holds the whole algorithm and none of the arithmetic on big vectors. A machine is a
//! few scalars and an enum; it *asks* for one operation at a time over [named registers](Register)
//! and takes one [`Reply`] (reverse communication: ARPACK's `IDO`, MKL's RCI CG; "sans-IO"
//! elsewhere). The driver owns the vectors: GPU tensors, CPU tensors, or `[f32; N]` on a
//! microcontroller.
//!
//! Storeys, each lowering onto the one below:
//!
//! | machine | asks for | built from |
//! |---|---|---|
//! | [`Solver`] ([`RecycledCg`], [`ConjugateGradient`], …) | products with `A`, dots, axpby | |
//! | [`Hypergradient`] | products with `H`, upper gradients | a [`Solver`] |
//! | [`Update`] | dots, axpby | optimiser coefficients |
//! | [`Descent`] | gradients | [`Update`] |
//! | [`Alternation`] | everything above | [`Descent`]'s step, [`Hypergradient`], [`Update`] |
//!
//! A new backend proves itself with [`conformance`]: laws that it checks where it runs.
//!
//! [`drive`] is the only loop. Symbols are those of `docs/method.md`.
#![no_std]
#![forbid(unsafe_code)]

mod alternation;
pub mod conformance;
mod descent;
mod drive;
mod error;
mod hypergradient;
mod machine;
mod objective;
mod optimizer;
mod order;
mod protocol;
mod random;
mod report;
mod schedule;
mod solver;
mod update;

pub use alternation::{Alternation, AlternationSettings, Level};
pub use descent::{Descent, DescentSettings, DescentStep};
pub use drive::{DriveError, Driver, Linear, Progress, Training, Vectors, drive};
pub use error::ConfigError;
pub use hypergradient::{Coupling, Hypergradient, HypergradientRecord, HypergradientSettings};
pub use objective::{LowerObjective, Operator, RegisterFile, UpperObjective};
pub use optimizer::{AdamCoefficients, Optimizer, clip_factor, lars_ratio};
pub use order::{BatchOrder, Permutation};
pub use protocol::{
    Bank, Evaluation, Event, Group, Machine, Pairs, Pending, Register, Reply, Request, Ticket,
    UnexpectedReply,
};
pub use random::{Draws, Stream};
pub use report::{Completion, Report, StepRecord, Termination, UpperRecord};
pub use schedule::Schedule;
pub use solver::*;
pub use update::{Update, UpdateReport};
