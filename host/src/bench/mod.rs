//! `bissl bench`: what things cost, and how exact the solves are. Nothing that is trained here is
//! kept.

mod alternation;
mod decoding;
mod exact;
mod step;

pub use alternation::{SideReport, StageJob, StageReport, stage};
pub use decoding::{DataJob, DataReport, data};
pub use step::{Share, StepJob, StepReport, step};
