//! The shipped configuration: sizes, and the networks they make.

use crate::network::{Chain, Dense, Layer, Linear, Relu};

/// Side of a frame, pixels.
pub const SIDE: usize = 8;
/// Pixels of a frame.
pub const PIXELS: usize = SIDE * SIDE;
/// Width of the backbone's hidden layer.
pub const HIDDEN: usize = 20;
/// Width of the backbone's output.
pub const FEATURES: usize = 16;
/// Width of the projector's hidden layer.
pub const PROJECTED: usize = 16;
/// Width of the projector's output.
pub const EMBEDDING: usize = 8;
/// Classes of the downstream task.
pub const CLASSES: usize = 10;
/// Frames of a pretext batch.
pub const PRETEXT_BATCH: usize = 10;
/// Their views: rows of the pretext network.
pub const VIEWS: usize = 2 * PRETEXT_BATCH;
/// Frames of a downstream batch.
pub const DOWNSTREAM_BATCH: usize = 10;

/// The backbone on `R` rows: `PIXELS → HIDDEN → FEATURES`.
pub type Encoder<const R: usize> =
    Chain<Dense<Relu, R, PIXELS, HIDDEN, HIDDEN>, Dense<Relu, R, HIDDEN, FEATURES, FEATURES>>;
/// The pretext head on `R` rows: `FEATURES → PROJECTED → EMBEDDING`, the last without bias.
pub type Projector<const R: usize> = Chain<
    Dense<Relu, R, FEATURES, PROJECTED, PROJECTED>,
    Dense<Linear, R, PROJECTED, EMBEDDING, 0>,
>;
/// The downstream head on `R` rows: `FEATURES → CLASSES`.
pub type Classifier<const R: usize> = Dense<Linear, R, FEATURES, CLASSES, CLASSES>;

/// θ.
pub type EncoderParameters<T> = <Encoder<1> as Layer<T>>::Parameters;
/// φ_P.
pub type ProjectorParameters<T> = <Projector<1> as Layer<T>>::Parameters;
/// φ_D.
pub type ClassifierParameters<T> = <Classifier<1> as Layer<T>>::Parameters;
