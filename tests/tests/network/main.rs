//! The network and its passes, on the backend of the feature.

mod backend;
mod builder;
mod conformance;
mod convolution;
mod curvature;
mod eigen;
mod evaluation;
mod layers;
mod losses;
mod multi_label;
mod non_finite;
mod open_layer;
mod open_method;
mod oracle;
mod pretext;
mod statistics;
mod support;
mod target;
mod transfers;
mod vectors;
mod whole;

// The command names a backend of the binary, and the emulated one is none.
#[cfg(not(feature = "cuda-emulation"))]
mod hvp;

#[cfg(feature = "cuda-emulation")]
#[path = "../cuda_emulation/mod.rs"]
mod cuda_emulation;

// Training is in f32; in f64 the same slices take several times as long.
#[cfg(any(not(feature = "ndarray"), feature = "device"))]
mod determinism;
#[cfg(all(feature = "ndarray", feature = "device"))]
mod device;
#[cfg(all(feature = "ndarray", not(feature = "device")))]
mod differences;
#[cfg(all(
    feature = "ndarray",
    not(feature = "device"),
    any(feature = "flex", feature = "candle")
))]
mod single_precision;
#[cfg(all(feature = "ndarray", not(feature = "device")))]
mod spectrum;
