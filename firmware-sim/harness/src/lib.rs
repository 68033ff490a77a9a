//! Runs the device program on a PC as a simulated device.
//!
//! [`Digits`] are the sensor's frames, [`compare`] trains the device along both paths, [`record`] and
//! [`replay`] keep the conversation between core and device.

mod digits;
mod experiment;
mod trace;

pub use digits::{Digits, LABELLED_PER_CLASS, PICTURES, UNLABELLED};
pub use experiment::{
    Comparison, Observer, Outcome, Path, SimulatedDevice, Stopped, compare, run_to, start,
};
pub use trace::{RecordError, ReplayError, ReplayReport, record, replay};
