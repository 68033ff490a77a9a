//! The accuracies that are measured of every method.

use super::Method;
use super::statistics;

/// One of the accuracies that are measured of every method.
#[derive(Clone, Copy)]
pub(super) struct Measure {
    /// Name as a heading.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) about: &'static str,
    /// Its values of a method, one per seed, or none.
    pub(super) values: fn(&Method) -> &[f64],
}

impl Measure {
    /// The paired differences of the last method against the first, one per seed; empty where there
    /// are not two methods with values.
    pub(super) fn differences(&self, methods: &[Method]) -> Vec<f64> {
        match methods {
            [first, .., last] => {
                statistics::paired_differences((self.values)(first), (self.values)(last))
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn is_measured(&self, methods: &[Method]) -> bool {
        methods.iter().any(|method| !(self.values)(method).is_empty())
    }
}

/// All of them, the one that counts first.
pub(super) const MEASURES: [Measure; 3] = [
    Measure {
        name: "Held-out accuracy",
        about: "Top-1 accuracy on held-out pictures after fine-tuning.",
        values: |method| &method.accuracy,
    },
    Measure {
        name: "Linear probe",
        about: "Top-1 accuracy of a linear classifier on frozen features.",
        values: |method| &method.probe,
    },
    Measure {
        name: "k-nearest neighbours",
        about: "Top-1 accuracy of a vote among the nearest neighbours of frozen features.",
        values: |method| &method.knn,
    },
];
