//! What things cost and how exact they are: `bissl bench`, `bissl plan`, `bissl verify`; and what the
//! curvature looks like: `bissl hvp`, `bissl spectrum`.
//!
//! Nothing here trains anything that is kept; the same machines, problems and kernels as in the stages
//! are driven by a loop that looks at every request.

mod bilevel;
mod data;
mod exact;
mod hvp;
mod lanczos;
mod memory;
mod observed;
pub mod plan;
mod spectrum;
mod stage;
mod start;
mod step;
mod tridiagonal;
pub mod verify;
mod weights;

use std::time::Duration;

use anyhow::Result;

use crate::backend::{Task, dispatch};
use crate::config::RunConfig;
use crate::kernels::Kernels;
use crate::progress::Verbosity;
use crate::run::Origin;

pub use data::{DataJob, DataReport, data};
pub use hvp::{HvpJob, HvpReport, hvp};
pub use memory::CountingAllocator;
pub use spectrum::{CheckpointSpectrum, Eigenvalue, SpectrumJob, SpectrumReport, Which, spectrum};
pub use stage::{SideReport, StageReport};
pub use step::StepReport;

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table.
    Text,
    /// One JSON object.
    Json,
}

/// What is measured.
#[derive(Debug)]
pub enum Measurement {
    /// One gradient and one product: `bench step`.
    Step {
        /// Repetitions of everything; medians are reported.
        repeats: u32,
    },
    /// An alternation of the bilevel stage beside the published algorithm: `bench stage`.
    Stage {
        /// The pretrained weights; `None`: some steps of pretraining from initial weights.
        from: Option<Origin>,
        /// How many, where `from` is `None`.
        pretrain_steps: u32,
        /// Alternations of either algorithm.
        alternations: u32,
        /// Whether the published algorithm's solves are compared with exact ones, too.
        reference_errors: bool,
    },
    /// The cost of a run before it is started: `plan`.
    Plan {
        /// The pretrained weights; `None`: some steps of pretraining from initial weights.
        from: Option<Origin>,
        /// How many, where `from` is `None`.
        pretrain_steps: u32,
        /// Alternations that are measured, at least 1.
        measured: u32,
        /// Time for `align`; settings are chosen for it.
        budget: Option<Duration>,
    },
    /// Whether everything is computed right: `verify`.
    Verify {
        /// The pretrained weights; `None`: a few steps from initial ones.
        from: Option<Origin>,
    },
}

/// What a measurement leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What is to be printed.
    pub text: String,
    /// What it says about the program: an error where a check of `verify` failed.
    pub verdict: Result<(), verify::VerifyFailed>,
}

/// A measurement with everything that it needs.
#[derive(Debug)]
pub struct MeasureJob {
    /// What.
    pub measurement: Measurement,
    /// Every setting.
    pub config: RunConfig,
    /// How much is shown on the way.
    pub verbosity: Verbosity,
    /// How the result is shown.
    pub format: Format,
}

/// Measures, and returns what is to be printed.
///
/// # Errors
/// Whatever failed, with the file or setting that it concerns.
pub fn run(job: MeasureJob) -> Result<Measured> {
    crate::stage::start_threads(&job.config)?;
    let backend = job.config.backend;
    dispatch(backend, job)?
}

impl Task for MeasureJob {
    type Output = Result<Measured>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<Measured> {
        let Self { measurement, config, verbosity, format } = self;
        match measurement {
            Measurement::Step { repeats } => {
                let report = step::measure::<B>(&config, repeats, &device);
                print(&report, format)
            }
            Measurement::Stage { from, pretrain_steps, alternations, reference_errors } => {
                let start = start::Start { from, pretrain_steps };
                let extent = stage::Extent { alternations, reference_errors };
                let report = stage::measure::<B>(&config, &start, extent, verbosity, &device)?;
                print(&report, format)
            }
            Measurement::Plan { from, pretrain_steps, measured, budget } => {
                let start = start::Start { from, pretrain_steps };
                let request = plan::Request { start, measured, budget };
                let report = plan::measure::<B>(&config, request, verbosity, &device)?;
                print(&report, format)
            }
            Measurement::Verify { from } => {
                let report = verify::measure::<B>(&config, from, verbosity, &device)?;
                let verdict = report.verdict();
                Ok(Measured { verdict, ..print(&report, format)? })
            }
        }
    }
}

fn print<R: serde::Serialize + std::fmt::Display>(report: &R, format: Format) -> Result<Measured> {
    let text = match format {
        Format::Text => report.to_string(),
        Format::Json => serde_json::to_string_pretty(report)? + "\n",
    };
    Ok(Measured { text, verdict: Ok(()) })
}

/// The middle one, or the mean of the middle two; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}
