//! The shipped configuration: sizes, and the networks they make.

use crate::network::{Chain, Dense, Layer, Linear, Relu};

/// Side of a frame, pixels.
pub const SIDE: usize = 8;
/// Pixels of a frame.
pub const PIXELS: usize = SIDE * SIDE;

/// The sizes that decide how much memory a device takes.
struct Sizes {
    hidden: usize,
    features: usize,
    projected: usize,
    embedding: usize,
    pretext_batch: usize,
    downstream_batch: usize,
}

/// For 128 KiB of RAM.
#[cfg(not(feature = "small"))]
const SIZES: Sizes = Sizes {
    hidden: 20,
    features: 16,
    projected: 16,
    embedding: 8,
    pretext_batch: 10,
    downstream_batch: 10,
};

/// For 16 KiB.
#[cfg(feature = "small")]
const SIZES: Sizes = Sizes {
    hidden: 2,
    features: 4,
    projected: 4,
    embedding: 4,
    pretext_batch: 4,
    downstream_batch: 4,
};

/// Width of the backbone's hidden layer.
pub const HIDDEN: usize = SIZES.hidden;
/// Width of the backbone's output.
pub const FEATURES: usize = SIZES.features;
/// Width of the projector's hidden layer.
pub const PROJECTED: usize = SIZES.projected;
/// Width of the projector's output.
pub const EMBEDDING: usize = SIZES.embedding;
/// Classes of the downstream task.
pub const CLASSES: usize = 10;
/// Frames of a pretext batch.
pub const PRETEXT_BATCH: usize = SIZES.pretext_batch;
/// Their views: rows of the pretext network.
pub const VIEWS: usize = 2 * PRETEXT_BATCH;
/// Frames of a downstream batch.
pub const DOWNSTREAM_BATCH: usize = SIZES.downstream_batch;

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
