//! `verify`: checks gradients, products, solves and hypergradients before a training relies on
//! them.
//!
//! There are three groups of checks: closed forms through the core's machines; a narrow copy of the
//! configured network against its twin in f64; and the configured network itself, in a short stage.

mod checks;
mod closed;
mod dense;
mod forms;
mod narrow;
mod own;
mod slices;
mod tape;
mod twin;

use std::fmt;

use crate::error::Result;
use serde::Serialize;

use crate::backend::{Work, dispatch};
use crate::config::{Family, RunConfig};
use crate::kernels::Kernels;
use crate::model::architecture;
use crate::progress::Verbosity;
use crate::report::Table;
use crate::run::Origin;
use crate::stage::start::Start;

pub use crate::error::VerifyFailed;
pub use checks::Check;
use checks::Checks;

/// Steps of pretraining if there are no weights to start from: enough that no γ is 0 any more.
const PRETRAIN_STEPS: u32 = 4;

/// The report that `verify` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifyReport {
    /// Backbone, width, stem and projector.
    pub network: String,
    /// Name of the backend.
    pub backend: String,
    /// Solver and curvature of the configuration.
    pub solver: String,
    /// What the checks were made on.
    pub notes: Vec<String>,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// What was not checked, and why.
    pub left_out: Vec<String>,
    /// Number of failed checks.
    pub failed: usize,
}

impl VerifyReport {
    /// # Errors
    /// A check failed.
    pub fn verdict(&self) -> Result<(), VerifyFailed> {
        let (failed, all) = (self.failed, self.checks.len());
        if failed == 0 { Ok(()) } else { Err(VerifyFailed { failed, all }) }
    }
}

/// The job of `verify`.
#[derive(Debug)]
pub struct VerifyJob {
    /// Every setting.
    pub config: RunConfig,
    /// The pretrained weights; `None`: a few steps of pretraining from initial weights.
    pub from: Option<Origin>,
    /// How much is shown during the checks.
    pub verbosity: Verbosity,
}

/// Makes all checks.
///
/// # Errors
/// Data or checkpoint cannot be read, or training diverges. A failed check is not an error here.
pub fn verify(job: VerifyJob) -> Result<VerifyReport> {
    dispatch(job.config.backend, job)?
}

impl Work for VerifyJob {
    type Output = Result<VerifyReport>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<VerifyReport> {
        measure::<B>(&self.config, self.from, self.verbosity, &device)
    }
}

fn measure<B: Kernels>(
    config: &RunConfig,
    from: Option<Origin>,
    verbosity: Verbosity,
    device: &B::Device,
) -> Result<VerifyReport> {
    let mut checks = Checks::default();
    closed::check(&config.align, config.seed, &mut checks)?;
    if config.network.architecture == Family::Layers {
        let reason = "the network against a copy in f64: only residual networks have one";
        checks.leave_out(reason.to_owned());
    } else {
        narrow::check::<B>(config, device, &mut checks);
    }
    let start = Start { from, pretrain_steps: PRETRAIN_STEPS };
    own::check::<B>(config, &start, verbosity, device, &mut checks)?;
    let Checks { done, notes, left_out } = checks;
    Ok(VerifyReport {
        network: architecture(config),
        backend: config.backend.to_string(),
        solver: format!("{} with {}", config.align.solver, config.align.curvature),
        notes,
        failed: done.iter().filter(|check| !check.ok).count(),
        checks: done,
        left_out,
    })
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}, {}", self.network, self.solver, self.backend)?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let mut table = Table::new(["check", "error", "bound", ""]);
        for check in &self.checks {
            let verdict = if check.ok { "ok" } else { "FAILED" };
            let number = |x: f64| if x == 0.0 { "0".to_owned() } else { format!("{x:.1e}") };
            let name = format!("{}: {}", check.group, check.name);
            table.row([name, number(check.error), number(check.bound), verdict.to_owned()]);
        }
        write!(f, "{table}")?;
        for reason in &self.left_out {
            writeln!(f, "left out: {reason}")?;
        }
        match self.failed {
            0 => writeln!(f, "all {} checks passed", self.checks.len()),
            failed => writeln!(f, "{failed} of {} checks FAILED", self.checks.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(error: f64) -> VerifyReport {
        let checks = vec![Check::new("group", "claim", error, 1e-3)];
        VerifyReport {
            network: String::new(),
            backend: String::new(),
            solver: String::new(),
            notes: Vec::new(),
            failed: checks.iter().filter(|check| !check.ok).count(),
            checks,
            left_out: vec!["something".to_owned()],
        }
    }

    #[test]
    fn an_error_above_its_bound_or_no_number_fails() {
        assert_eq!(report(1e-3).verdict(), Ok(()));
        assert!(report(1e-3).to_string().ends_with("all 1 checks passed\n"));
        for error in [1.1e-3, f64::INFINITY, f64::NAN] {
            let report = report(error);
            assert_eq!(report.verdict(), Err(VerifyFailed { failed: 1, all: 1 }), "{error}");
            let text = report.to_string();
            assert!(text.contains("group: claim") && text.contains("FAILED"), "{text}");
            assert!(text.contains("left out: something"), "{text}");
        }
    }
}
