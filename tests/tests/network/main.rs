//! The network and its passes, on the backend of the feature.

mod backend;
mod support;

#[cfg(feature = "ndarray")]
mod differences;
