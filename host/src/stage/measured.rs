//! What a stage measures on its way.

use crate::run::Record;

/// A measure on images that the weights were not trained on.
pub(super) struct Measured {
    pub(super) metric: &'static str,
    /// More is better.
    pub(super) value: f64,
    /// For the metrics.
    pub(super) record: Record,
    /// What is kept where it is the best so far.
    pub(super) keep: Keep,
}

/// What is kept of the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing: it chooses nothing.
    Nothing,
    /// Its checkpoint.
    Checkpoint,
    /// Its checkpoint, and θ_D and φ_D in every later one: they are the stage's result.
    Weights,
}
