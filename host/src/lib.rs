//! Trainer for bilevel self-supervised learning over the `no_std` core.
//!
//! One way through: flags and TOML become one validated [`config::RunConfig`]; stages drive the
//! core's machines over a [`driver`], which performs their requests with the [`network`] on the
//! [`kernels`] of a backend; metrics, checkpoints and a report come out. Nothing behind the
//! configuration reads an environment variable or a global.

pub mod backend;
pub mod bench;
pub mod cli;
pub mod config;
pub mod curvature;
pub mod data;
#[cfg(feature = "cube")]
pub mod device_failure;
pub mod driver;
pub mod error;
mod hash;
pub mod interchange;
pub mod kernels;
pub mod machine;
mod model;
mod names;
pub mod network;
mod pickle;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod stage;
pub mod state_dict;
mod text;
pub mod verify;
