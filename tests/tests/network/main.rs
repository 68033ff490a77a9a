//! The network and its passes, on the backend of the feature.
