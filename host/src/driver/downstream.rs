//! Downstream tasks: the head over the backbone's features, and the loss of its outputs.

use std::fmt;
use std::sync::Arc;

use crate::data::{Presence, Targets};
use crate::kernels::Kernels;
use crate::network::loss::{CrossEntropy, Loss, WeightedCrossEntropy};
use crate::network::multi_label::{BinaryCrossEntropy, MultiHot, MultiLabel, SoftmaxCrossEntropy};
use crate::network::{Network, classifier};

/// The part of a downstream task that does not depend on the backend.
pub trait DownstreamTask: fmt::Debug + Send + Sync {
    /// Number of outputs of the head per image.
    fn outputs(&self) -> usize;

    /// φ_D on `features` of a backbone; by default one linear layer. It must not have batch norm,
    /// because a problem keeps the running statistics of the backbones and φ_P only.
    fn head(&self, features: usize) -> Network {
        classifier(features, self.outputs())
    }
}

/// A downstream task on one backend.
pub trait Downstream<B: Kernels>: DownstreamTask {
    /// L^D of a batch's outputs `[batch, outputs]` as a function of the images' labels.
    fn loss(&self, targets: &Targets) -> Box<dyn Loss<B>>;
}

/// Classification: cross entropy for one label per image, or the chosen loss for sets of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// Number of classes, at least 1.
    pub classes: usize,
    /// The loss for images with any number of labels.
    pub multi_label: MultiLabel,
    /// Weight of each class where images have one label; `None` weights all classes equally. Sets
    /// of labels have no such weights.
    pub class_weights: Option<Arc<[f32]>>,
}

/// Weights that give all classes the same influence: N/(classes · N_c), where N_c of the N `labels`
/// are of class c (scikit-learn's "balanced"). Their mean over the labels is 1.
///
/// # Errors
/// The first class without a label, whose weight would be infinite.
pub(crate) fn balanced_weights(labels: &[u32], classes: usize) -> Result<Arc<[f32]>, usize> {
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|label| counts[*label as usize] += 1);
    if let Some(absent) = counts.iter().position(|count| *count == 0) {
        return Err(absent);
    }
    let weight = |count: usize| labels.len() as f64 / (classes * count) as f64;
    Ok(counts.into_iter().map(|count| weight(count) as f32).collect())
}

impl DownstreamTask for Classification {
    fn outputs(&self) -> usize {
        self.classes
    }
}

impl<B: Kernels> Downstream<B> for Classification {
    fn loss(&self, targets: &Targets) -> Box<dyn Loss<B>> {
        let labels = match (targets, self.multi_label) {
            (Targets::Classes(labels), _) => labels.clone(),
            (Targets::Sets(_), MultiLabel::Binary) => {
                return Box::new(BinaryCrossEntropy { targets: multi_hot(targets, self.classes) });
            }
            (Targets::Sets(_), MultiLabel::Softmax) => {
                return Box::new(SoftmaxCrossEntropy { targets: multi_hot(targets, self.classes) });
            }
        };
        match self.class_weights.clone() {
            None => Box::new(CrossEntropy { labels }),
            Some(class_weights) => Box::new(WeightedCrossEntropy { labels, class_weights }),
        }
    }
}

/// A difficult object does not show its class, but its class is not counted as absent.
fn multi_hot(targets: &Targets, classes: usize) -> MultiHot {
    let entries = (0..targets.len())
        .flat_map(|item| (0..classes as u32).map(move |class| targets.presence(item, class)));
    let (present, counted) = entries
        .map(|presence| match presence {
            Presence::Present => (1.0, 1.0),
            Presence::Absent => (0.0, 1.0),
            Presence::Difficult => (0.0, 0.0),
        })
        .unzip();
    MultiHot { present, counted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::LabelSet;

    #[test]
    fn balanced_weights_are_scikit_learns_and_give_every_class_the_same_sum() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 0, 1, 1, 2, 0]).
        let weights = balanced_weights(&[0, 0, 0, 0, 1, 1, 2, 0], 3).unwrap();
        let expected = [8.0 / 15.0, 8.0 / 6.0, 8.0 / 3.0];
        assert_eq!(weights.to_vec(), expected.map(|x: f64| x as f32));
        assert_eq!(balanced_weights(&[1, 0, 0, 1], 2).unwrap().to_vec(), [1.0, 1.0]);
        assert_eq!(balanced_weights(&[0, 2, 2], 4), Err(1));
    }

    #[test]
    fn difficult_entries_are_neither_present_nor_counted() {
        let sets = vec![LabelSet::new(vec![0, 2], vec![]), LabelSet::new(vec![1], vec![2])];
        let found = multi_hot(&Targets::Sets(sets), 3);
        assert_eq!(found.present, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(found.counted, [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    }
}
