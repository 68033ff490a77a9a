//! The device program on a PC: its mathematics, its determinism, its faults, its traces.

mod adaptation;
mod asynchronous;
mod conformance;
mod device;
mod downstream;
mod faults;
mod kernels;
mod layers;
mod memory;
mod options;
mod ports;
mod power_cuts;
mod pretext;
mod profiles;
mod simulated_faults;
mod support;
mod trace;
