//! Who draws what: the domains of the core's random [`Stream`](bissl_core::Stream)s.
//!
//! One number per purpose, so that no two purposes share draws and none depends on another's count.
//! Numbers are part of the file format: changing one changes every run made from the same seed.

/// Initial weights of every network, one index per parameter tensor.
pub const INITIAL_WEIGHTS: u16 = 1;
/// Between the domains of the initial weights of a run's several networks: backbone, projector,
/// heads.
pub const INITIAL_WEIGHTS_STRIDE: u16 = 1000;
/// Which items of a class go to validation, one index per class.
pub const SPLIT: u16 = 2;
/// Which few items of a class keep their label for training, one index per class.
pub const LABELS: u16 = 3;
/// Batch order of the pretext stage.
pub const PRETEXT_ORDER: u16 = 10;
/// Augmentation of the pretext stage.
pub const PRETEXT_VIEW: u16 = 11;
/// Batch order of fine-tuning.
pub const DOWNSTREAM_ORDER: u16 = 20;
/// Augmentation of fine-tuning.
pub const DOWNSTREAM_VIEW: u16 = 21;
/// Batch order of the bilevel stage's lower steps.
pub const ALIGN_LOWER_ORDER: u16 = 30;
/// Augmentation of the bilevel stage's lower steps.
pub const ALIGN_LOWER_VIEW: u16 = 31;
/// Order of the batches on which the bilevel stage linearises, one per alternation.
pub const ALIGN_PRODUCT_ORDER: u16 = 32;
/// Augmentation of the batches on which the bilevel stage linearises.
pub const ALIGN_PRODUCT_VIEW: u16 = 33;
/// Batch order of the bilevel stage's upper steps.
pub const ALIGN_UPPER_ORDER: u16 = 34;
/// Augmentation of the bilevel stage's upper steps.
pub const ALIGN_UPPER_VIEW: u16 = 35;
/// Batch order of the head's warm-up.
pub const WARM_UP_ORDER: u16 = 40;
/// Augmentation of the head's warm-up.
pub const WARM_UP_VIEW: u16 = 41;
/// Batch order of the linear probe.
pub const PROBE_ORDER: u16 = 50;
/// Gaussian sketches of the solvers that need them.
pub const SKETCH: u16 = 60;
/// Start vectors of the measurements of spectra.
pub const SPECTRUM: u16 = 70;
