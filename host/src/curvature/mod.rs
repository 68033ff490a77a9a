//! What the curvature looks like: products of a given state, and the ends of a run's spectrum.

mod hvp;
mod lanczos;
mod spectrum;
mod tridiagonal;
mod weights;

pub use hvp::{HvpJob, HvpReport, hvp};
pub use spectrum::{CheckpointSpectrum, Eigenvalue, SpectrumJob, SpectrumReport, Which, spectrum};
