//! The binary `bissl` as its users meet it: processes, exit codes, files.
//!
//! Builds the binary in the release profile once, so the first run takes as long as that build.

mod binary;
mod class_weights;
mod data;
mod documented;
mod hostile;
mod hvp;
mod interchange;
mod interruption;
mod methods;
mod multi_label;
mod nothing_to_learn;
mod predict;
mod presets;
mod recorded;
mod refusals;
mod running;
mod spectrum;
mod verify_plan;
mod windows;
