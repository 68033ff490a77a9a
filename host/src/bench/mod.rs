//! `bissl bench`: measures the cost of each part, and the exactness of the solves. It keeps nothing
//! that it trains.

mod alternation;
mod decoding;
mod exact;
mod step;

pub use alternation::{ContenderReport, StageJob, StageReport, stage};
pub use decoding::{DataJob, DataReport, data};
pub use step::{Share, StepJob, StepReport, step};
