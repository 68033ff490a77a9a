//! What a solver keeps in memory, and whether the machine has it: asked before a stage starts.

use crate::backend::BackendError;
use crate::config::RunConfig;
pub use crate::error::{NotEnoughMemory, SolverNeed};
use crate::kernels::{BackendName, DeviceInfo};
use crate::machine;

/// Vectors of the backbone's length that the solver keeps in its banks.
fn vectors(config: &RunConfig) -> Result<u64, bissl_core::ConfigError> {
    Ok(config.align.solver()?.facts().vectors().into())
}

/// Bytes that the configured solver keeps from solve to solve at most: m·n floats with `mfac`, two
/// vectors for every direction or sketch of `recycled-cg` and `nystrom`; n = `parameters` of the
/// backbone.
///
/// # Errors
/// A solver's setting out of its range.
pub fn solver_memory(
    config: &RunConfig,
    parameters: usize,
) -> Result<u64, bissl_core::ConfigError> {
    Ok(vectors(config)? * parameters as u64 * config.backend.element_bytes())
}

/// The memory that a backend's tensors lie in, bytes; `None` where nobody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryThere {
    /// What can still be had.
    pub available: Option<u64>,
    /// All of a device's.
    pub total: Option<u64>,
}

impl MemoryThere {
    /// That of this machine, or of the backend's device.
    ///
    /// # Errors
    /// The backend has no usable device.
    pub fn of(backend: BackendName) -> Result<Self, BackendError> {
        Ok(match crate::backend::device(backend)? {
            Some(DeviceInfo { software: false, memory, .. }) => Self {
                available: memory.map(|memory| memory.free),
                total: memory.map(|memory| memory.total),
            },
            // A device in software has the memory of this machine.
            Some(_) | None => Self { available: machine::memory_available(), total: None },
        })
    }
}

fn fits(need: SolverNeed) -> Result<SolverNeed, NotEnoughMemory> {
    match need.available {
        Some(available) if need.bytes > available => Err(NotEnoughMemory(need)),
        _ => Ok(need),
    }
}

/// Compares what the solver keeps of a backbone of `parameters` with the memory of the machine; to
/// be called before a stage starts, and its answer printed.
///
/// Where nobody says how much is available nothing is refused.
///
/// # Errors
/// [`NotEnoughMemory`]; a solver's setting out of its range; no usable device.
pub fn require_memory(config: &RunConfig, parameters: usize) -> crate::error::Result<SolverNeed> {
    let need = SolverNeed {
        solver: config.align.solver,
        vectors: vectors(config)?,
        parameters: parameters as u64,
        bytes: solver_memory(config, parameters)?,
        available: MemoryThere::of(config.backend)?.available,
    };
    Ok(fits(need)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Preset, SolverName};

    fn need(bytes: u64, available: Option<u64>) -> SolverNeed {
        SolverNeed { solver: SolverName::Mfac, vectors: 20, parameters: 10, bytes, available }
    }

    #[test]
    fn mfac_needs_its_gradients_and_recycling_two_vectors_a_direction() {
        let mut config = Preset::Default.config();
        config.align.recycle_capacity = 16;
        assert_eq!(solver_memory(&config, 1000).unwrap(), 2 * 16 * 1000 * 4);
        config.align.solver = SolverName::Mfac;
        config.align.lower_steps = 20;
        assert_eq!(solver_memory(&config, 1000).unwrap(), 20 * 1000 * 4);
        config.align.mfac_gradients = Some(5);
        config.backend = BackendName::Ndarray;
        assert_eq!(solver_memory(&config, 1000).unwrap(), 5 * 1000 * 8);
        config.align.solver = SolverName::Identity;
        assert_eq!(solver_memory(&config, 1000).unwrap(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_sizes_and_the_setting() {
        let error = fits(need(3 << 20, Some(2 << 20))).unwrap_err().to_string();
        for part in ["mfac", "3.0 MiB", "2.0 MiB", "align.mfac_gradients"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(fits(need(2 << 20, Some(2 << 20))).is_ok());
        let unknown = fits(need(3 << 20, None)).unwrap();
        assert!(unknown.to_string().contains("not known"), "{unknown}");
        assert!(require_memory(&Preset::Default.config(), 1000).is_ok());
    }
}
