//! The downstream loss of a batch: by what its images are labelled with.

use crate::data::{Presence, Targets};
use crate::kernels::Kernels;
use crate::network::loss::{CrossEntropy, Loss};
use crate::network::multi_label::{BinaryCrossEntropy, MultiHot, MultiLabel, SoftmaxCrossEntropy};

/// Cross entropy against one label an image, or the chosen loss against sets of them; `classes` of the
/// classifier.
pub fn downstream_loss<B: Kernels>(
    targets: &Targets,
    classes: usize,
    multi_label: MultiLabel,
) -> Box<dyn Loss<B>> {
    match (targets, multi_label) {
        (Targets::Classes(labels), _) => Box::new(CrossEntropy { labels: labels.clone() }),
        (Targets::Sets(_), MultiLabel::Binary) => {
            Box::new(BinaryCrossEntropy { targets: multi_hot(targets, classes) })
        }
        (Targets::Sets(_), MultiLabel::Softmax) => {
            Box::new(SoftmaxCrossEntropy { targets: multi_hot(targets, classes) })
        }
    }
}

/// Difficult objects neither show a class nor let its absence count.
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
    fn difficult_entries_are_neither_present_nor_counted() {
        let sets = vec![LabelSet::new(vec![0, 2], vec![]), LabelSet::new(vec![1], vec![2])];
        let found = multi_hot(&Targets::Sets(sets), 3);
        assert_eq!(found.present, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(found.counted, [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    }
}
