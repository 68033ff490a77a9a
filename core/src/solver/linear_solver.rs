//! The linear solver as a type: what the machines above one need of it.

use core::fmt::Debug;

use crate::{
    CgSettings, ConfigError, ConjugateGradient, Coupling, Identity, Layerwise, LayerwiseSettings,
    Machine, Mfac, MfacSettings, Neumann, NeumannSettings, Nystrom, NystromSettings, RecycledCg,
    RecycledCgSettings, Report, Request, Soba, SobaSettings, Solver, SolverMemory, SolverSettings,
};

/// Plain data: copied, compared and printed; with the crate's features also stored and logged.
///
/// Implemented for whatever is.
pub trait Plain: Copy + Debug + PartialEq + Stored + Logged {}
impl<T: Copy + Debug + PartialEq + Stored + Logged> Plain for T {}

/// Has a stored form, where the feature `serde` is on; without it, anything.
#[cfg(feature = "serde")]
pub trait Stored: serde::Serialize + serde::de::DeserializeOwned {}
#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Stored for T {}

/// Has a stored form, where the feature `serde` is on; without it, anything.
#[cfg(not(feature = "serde"))]
pub trait Stored {}
#[cfg(not(feature = "serde"))]
impl<T> Stored for T {}

/// Can be logged, where the feature `defmt` is on; without it, anything.
#[cfg(feature = "defmt")]
pub trait Logged: defmt::Format {}
#[cfg(feature = "defmt")]
impl<T: defmt::Format> Logged for T {}

/// Can be logged, where the feature `defmt` is on; without it, anything.
#[cfg(not(feature = "defmt"))]
pub trait Logged {}
#[cfg(not(feature = "defmt"))]
impl<T> Logged for T {}

/// A solve of `A x = b`, b in `Residual`, x in `Solution`, by a method that is chosen when the program
/// is compiled; [`Solver`] is the one that is chosen when it runs.
///
/// A [`Hypergradient`](crate::Hypergradient) or [`Alternation`](crate::Alternation) over one method
/// asks for the same things as over a [`Solver`] with the same settings, bit for bit, and contains,
/// stores and links nothing of the other methods. Its stored form is its own.
///
/// Sealed: the features of this crate add to what is demanded of an implementation.
pub trait LinearSolver: Machine<Output = Report> + Plain + sealed::Sealed {
    /// What a solve is determined by, beside A, b and the memory.
    type Settings: Plain;

    /// What is known of the vectors in the banks, from one solve to the next; begins as its default.
    type Memory: Plain + Default;

    /// A solve that has not begun; `memory` is that of the solve before, with the same A.
    fn begin(settings: Self::Settings, memory: Self::Memory) -> Self;

    /// The pending request; after the end, the last one.
    fn request(&self) -> Request;

    /// What the next solve goes on with; complete at the end.
    fn memory(&self) -> Self::Memory;

    /// Whether it asks for products, and so needs a linearisation.
    fn uses_products(_settings: &Self::Settings) -> bool {
        true
    }

    /// Lower gradients that it takes from the lower phase instead of products.
    fn gradients(_settings: &Self::Settings) -> u8 {
        0
    }

    /// The memory of a bank into which the lower phase has put these gradients.
    fn filled(_settings: &Self::Settings) -> Self::Memory {
        Self::Memory::default()
    }

    /// What is left of `memory` when A becomes another matrix.
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

mod sealed {
    pub trait Sealed {}
}

/// What every implementation forwards; the rest of the trait follows in its block.
macro_rules! linear_solver {
    ($solver:ident, $settings:ty, $new:expr, { $($rest:tt)* }) => {
        impl sealed::Sealed for $solver {}

        impl LinearSolver for $solver {
            type Settings = $settings;

            fn begin(settings: $settings, memory: Self::Memory) -> Self {
                $new(settings, memory)
            }

            fn request(&self) -> Request {
                $solver::request(self)
            }

            $($rest)*
        }
    };
}

linear_solver!(ConjugateGradient, CgSettings, |settings, ()| Self::new(settings), {
    type Memory = ();

    fn memory(&self) {}
});

linear_solver!(Identity, (), |(), ()| Self::new(), {
    type Memory = ();

    fn memory(&self) {}

    fn uses_products((): &()) -> bool {
        false
    }
});

linear_solver!(Layerwise, LayerwiseSettings, |settings, ()| Self::new(settings), {
    type Memory = ();

    fn memory(&self) {}
});

linear_solver!(Neumann, NeumannSettings, |settings, ()| Self::new(settings), {
    type Memory = ();

    fn memory(&self) {}
});

linear_solver!(RecycledCg, RecycledCgSettings, Self::new, {
    type Memory = SolverMemory;

    fn memory(&self) -> SolverMemory {
        Self::memory(self)
    }

    /// How many solves in a row were unverified, but nothing that they relied on.
    fn relinearized(_: &RecycledCgSettings, memory: SolverMemory) -> SolverMemory {
        SolverMemory { unverified: memory.unverified, ..SolverMemory::default() }
    }
});

linear_solver!(Soba, SobaSettings, Self::new, {
    type Memory = SolverMemory;

    fn memory(&self) -> SolverMemory {
        Self::memory(self)
    }

    /// All of it: its x goes on.
    fn relinearized(_: &SobaSettings, memory: SolverMemory) -> SolverMemory {
        memory
    }
});

linear_solver!(Nystrom, NystromSettings, Self::new, {
    type Memory = SolverMemory;

    fn memory(&self) -> SolverMemory {
        Self::memory(self)
    }

    fn check(_: &NystromSettings, coupling: Coupling) -> Result<(), ConfigError> {
        match coupling {
            Coupling::Proximity { .. } => Ok(()),
            Coupling::General => Err(ConfigError::NeedsProximity { solver: "nystrom" }),
        }
    }
});

linear_solver!(Mfac, MfacSettings, Self::new, {
    type Memory = SolverMemory;

    fn memory(&self) -> SolverMemory {
        Self::memory(self)
    }

    fn uses_products(_: &MfacSettings) -> bool {
        false
    }

    fn gradients(settings: &MfacSettings) -> u8 {
        settings.gradients()
    }

    fn filled(settings: &MfacSettings) -> SolverMemory {
        SolverMemory::filled(settings.gradients())
    }

    fn check(settings: &MfacSettings, coupling: Coupling) -> Result<(), ConfigError> {
        match coupling {
            Coupling::Proximity { weight } if settings.proximity() != weight => {
                let (name, range) = ("mfac proximity", "the coupling's proximity");
                Err(ConfigError::OutOfRange { name, value: settings.proximity(), range })
            }
            Coupling::Proximity { .. } => Ok(()),
            Coupling::General => Err(ConfigError::NeedsProximity { solver: "mfac" }),
        }
    }
});

linear_solver!(Solver, SolverSettings, Self::new, {
    type Memory = SolverMemory;

    fn memory(&self) -> SolverMemory {
        Self::memory(self)
    }

    fn uses_products(settings: &SolverSettings) -> bool {
        settings.uses_products()
    }

    fn gradients(settings: &SolverSettings) -> u8 {
        settings.gradients()
    }

    fn filled(settings: &SolverSettings) -> SolverMemory {
        SolverMemory::filled(settings.gradients())
    }

    fn relinearized(settings: &SolverSettings, memory: SolverMemory) -> SolverMemory {
        memory.relinearized(settings)
    }

    fn check(settings: &SolverSettings, coupling: Coupling) -> Result<(), ConfigError> {
        match settings {
            SolverSettings::Mfac(settings) => Mfac::check(settings, coupling),
            SolverSettings::Nystrom(settings) => Nystrom::check(settings, coupling),
            _ => Ok(()),
        }
    }
});
