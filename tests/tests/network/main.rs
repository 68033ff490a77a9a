//! The network and its passes, on the backend of the feature.

mod backend;
mod convolution;
mod curvature;
mod eigen;
mod evaluation;
mod layers;
mod losses;
mod oracle;
mod support;
mod whole;

#[cfg(feature = "ndarray")]
mod differences;
#[cfg(feature = "ndarray")]
mod spectrum;
