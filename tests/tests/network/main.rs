//! The network and its passes, on the backend of the feature.

mod backend;
mod layers;
mod oracle;
mod support;
mod whole;

#[cfg(feature = "ndarray")]
mod differences;
