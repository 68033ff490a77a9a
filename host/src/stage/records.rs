//! Lines of `metrics.jsonl`.

use bissl_core::{Event, Report, StepRecord, Termination, UpperRecord};
use serde::{Deserialize, Serialize};

use crate::config::Metric;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A step of plain descent, or a lower step of the bilevel stage.
    Step {
        /// Stage within the run.
        stage: String,
        /// Step number, from 0.
        index: u32,
        /// The loss before the step.
        loss: f32,
        /// Norm of the whole gradient before clipping.
        gradient_norm: f32,
        /// Its rate.
        learning_rate: f32,
        /// ‖θ_P − θ_D‖ before a lower step.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        distance: Option<f32>,
    },
    /// An upper step, with its linear solve.
    UpperStep {
        /// Stage within the run.
        stage: String,
        /// Upper step number, from 0.
        index: u32,
        /// Alternation, from 0.
        alternation: u32,
        /// L^D at (θ_P, φ_D).
        loss_at_lower: f32,
        /// L^D at (θ_D, φ_D).
        loss_at_upper: Option<f32>,
        /// Norm of (G_θ, G_φ) before clipping.
        gradient_norm: f32,
        /// Its rate.
        learning_rate: f32,
        /// The linear solve.
        solve: Solve,
    },
    /// Accuracy on held-out images, at the end of an epoch of fine-tuning.
    Validation {
        /// Stage within the run.
        stage: String,
        /// Epochs done.
        epoch: u32,
        /// By the metric, in `[0, 1]`.
        accuracy: f64,
        /// What chooses the epoch.
        #[serde(default = "top_1")]
        metric: Metric,
    },
    /// Measures of a frozen backbone on validation images, during pretraining.
    Probe {
        /// Stage within the run.
        stage: String,
        /// Epochs done.
        epoch: u32,
        /// Top-1 of a linear probe, in `[0, 1]`.
        probe: f64,
        /// Top-1 of the nearest neighbours' vote, in `[0, 1]`.
        knn: f64,
        /// Fingerprint of all that is trained, before the measures.
        state_before: String,
        /// The same after them; a run in which they differ has ended.
        state_after: String,
    },
    /// A measured result.
    Result {
        /// Stage within the run.
        stage: String,
        /// What was measured.
        name: String,
        /// Its value.
        value: f64,
    },
}

/// The metric of lines that name none.
fn top_1() -> Metric {
    Metric::Top1
}

/// What is known about one linear solve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solve {
    /// How it ended.
    pub termination: Termination,
    /// Products used.
    pub products: u16,
    /// ‖r‖/‖b‖; absent where no product verified it.
    pub residual: Option<f32>,
    /// ‖x − b‖/‖b‖, what second order changed.
    #[serde(default)]
    pub correction: Option<f32>,
    /// cos(x, b).
    pub cosine: Option<f32>,
    /// ‖x‖/‖b‖.
    pub solution_ratio: Option<f32>,
    /// Largest Rayleigh quotient of the curvature seen, a lower bound of its top eigenvalue.
    pub rayleigh_max: Option<f32>,
    /// Smallest Rayleigh quotient seen, an upper bound of its lowest eigenvalue.
    pub rayleigh_min: Option<f32>,
}

impl Solve {
    /// How it ended, as metrics and reports spell it.
    pub fn termination_name(&self) -> String {
        serde_json::to_value(self.termination)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

impl From<&Report> for Solve {
    fn from(report: &Report) -> Self {
        Self {
            termination: report.termination,
            products: report.products,
            residual: report.residual(),
            correction: report.correction(),
            cosine: report.cosine(),
            solution_ratio: report.solution_ratio(),
            rayleigh_max: report.rayleigh_max,
            rayleigh_min: report.rayleigh_min,
        }
    }
}

impl Record {
    /// The line of an event, if it has one.
    pub(super) fn of_event(stage: &str, event: &Event) -> Option<Self> {
        let stage = stage.to_owned();
        match event {
            Event::Step(StepRecord { index, loss, gradient_norm, learning_rate, distance }) => {
                Some(Self::Step {
                    stage,
                    index: *index,
                    loss: *loss,
                    gradient_norm: *gradient_norm,
                    learning_rate: *learning_rate,
                    distance: *distance,
                })
            }
            Event::UpperStep(UpperRecord {
                index,
                alternation,
                hypergradient,
                gradient_norm,
                learning_rate,
            }) => Some(Self::UpperStep {
                stage,
                index: *index,
                alternation: *alternation,
                loss_at_lower: hypergradient.loss_at_lower,
                loss_at_upper: hypergradient.loss_at_upper,
                gradient_norm: *gradient_norm,
                learning_rate: *learning_rate,
                solve: Solve::from(&hypergradient.solve),
            }),
            Event::Alternation { .. } => None,
        }
    }
}
