//! Trainer for bilevel self-supervised learning over the `no_std` core.

pub mod kernels;
pub mod network;
