//! The network and its passes, on the backend of the feature.

mod backend;
mod convolution;
mod curvature;
mod device;
mod eigen;
mod evaluation;
mod hvp;
mod layers;
mod losses;
mod multi_label;
mod oracle;
mod pretext;
mod statistics;
mod support;
mod target;
mod transfers;
mod whole;

// Training is in f32; in f64 the same slices take several times as long.
#[cfg(not(feature = "ndarray"))]
mod determinism;
#[cfg(feature = "ndarray")]
mod differences;
#[cfg(all(feature = "ndarray", any(feature = "flex", feature = "candle")))]
mod single_precision;
#[cfg(feature = "ndarray")]
mod spectrum;
