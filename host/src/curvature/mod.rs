//! Curvature: products for a given state, and the ends of the spectrum along a run.

mod hvp;
mod lanczos;
mod spectrum;
mod tridiagonal;
mod weights;

pub use hvp::{HvpJob, HvpReport, hvp};
pub use spectrum::{
    CheckpointSelection, CheckpointSpectrum, Eigenvalue, SpectrumJob, SpectrumReport, spectrum,
};
