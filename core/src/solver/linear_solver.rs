//! The linear solver as a type: what the machines above one need of it.

use core::fmt::Debug;

use super::{SolverFacts, SolverMemory};
use crate::{ConfigError, Coupling, Machine, Report, Request};

/// Plain data: copied, compared and printed; with the crate's features also stored and logged.
///
/// Implemented for every type that is all of that.
pub trait Plain: Copy + Debug + PartialEq + Stored + Logged {}
impl<T: Copy + Debug + PartialEq + Stored + Logged> Plain for T {}

/// A type with a stored form, if the feature `serde` is on; otherwise any type.
#[cfg(feature = "serde")]
pub trait Stored: serde::Serialize + serde::de::DeserializeOwned {}
#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Stored for T {}

/// A type with a stored form, if the feature `serde` is on; otherwise any type.
#[cfg(not(feature = "serde"))]
pub trait Stored {}
#[cfg(not(feature = "serde"))]
impl<T> Stored for T {}

/// A type that can be logged, if the feature `defmt` is on; otherwise any type.
#[cfg(feature = "defmt")]
pub trait Logged: defmt::Format {}
#[cfg(feature = "defmt")]
impl<T: defmt::Format> Logged for T {}

/// A type that can be logged, if the feature `defmt` is on; otherwise any type.
#[cfg(not(feature = "defmt"))]
pub trait Logged {}
#[cfg(not(feature = "defmt"))]
impl<T> Logged for T {}

/// A solve of `A x = b`, b in `Residual`, x in `Solution`, by a method that is chosen when the
/// program is compiled; [`Solver`](crate::Solver) is the one that is chosen when it runs.
///
/// A [`Hypergradient`](crate::Hypergradient) or [`Alternation`](crate::Alternation) over one method
/// asks for the same things as over a [`Solver`](crate::Solver) with the same settings, bit for
/// bit, and contains, stores and links nothing of the other methods. Its stored form is its own.
///
/// Sealed: the features of this crate add to what is demanded of an implementation.
pub trait LinearSolver: Machine<Output = Report> + Plain + sealed::Sealed {
    /// What determines a solve, besides A, b and the memory.
    type Settings: Plain;

    /// What is known about the vectors in the banks, from one solve to the next; starts as its
    /// default. `()` if nothing is kept.
    type Memory: Plain + Default + From<SolverMemory> + Into<SolverMemory>;

    /// A solve that has not begun; `memory` is that of the solve before, with the same A.
    fn begin(settings: Self::Settings, memory: Self::Memory) -> Self;

    /// The pending request; after the end, the last one.
    fn request(&self) -> Request;

    /// The facts about it with these settings.
    fn facts(settings: &Self::Settings) -> SolverFacts;

    /// What the next solve continues with; complete at the end.
    fn memory(&self) -> Self::Memory {
        Self::Memory::default()
    }

    /// What remains of `memory` when A changes.
    fn relinearized(_settings: &Self::Settings, _memory: Self::Memory) -> Self::Memory {
        Self::Memory::default()
    }

    /// Refuses settings with which it would solve another system than the coupling's.
    ///
    /// # Errors
    /// The setting that does not fit, or that the coupling has to be by proximity.
    fn check(_settings: &Self::Settings, _coupling: Coupling) -> Result<(), ConfigError> {
        Ok(())
    }
}

pub(super) mod sealed {
    pub trait Sealed {}
}
