//! A target network: a moving average of the online network, with no gradient through it.

use burn_tensor::Tensor;

use super::Statistics;
use crate::kernels::Kernels;
use crate::network::{Running, Tower, TowerParameters};

/// Parameters and running statistics of a target network.
///
/// It runs in training mode with the statistics of its own batches. Its running statistics are
/// stored but not used in any computation.
#[derive(Clone, Debug)]
pub struct Target<B: Kernels> {
    /// θ and the projector's part of φ_P, averaged.
    pub parameters: TowerParameters<B>,
    /// Running statistics of backbone and projector.
    pub statistics: Running<B>,
    /// Whether a lower step has begun that the average does not include yet.
    behind: bool,
    /// Whether it is frozen.
    pub(super) frozen: bool,
}

/// The first `len` elements of a flat vector.
fn first<B: Kernels>(flat: &Tensor<B, 1>, len: usize) -> Tensor<B, 1> {
    flat.clone().slice(0..len)
}

impl<B: Kernels> Target<B> {
    /// A target network that includes every step so far.
    pub fn new(parameters: TowerParameters<B>, statistics: Running<B>) -> Self {
        Self { parameters, statistics, behind: false, frozen: false }
    }

    /// A copy of the online network's backbone and projector; the projector comes first in the
    /// head.
    pub(super) fn copied(
        tower: Tower<'_>,
        online: &TowerParameters<B>,
        running: &Statistics<B>,
    ) -> Self {
        let statistics = tower.head.statistics().len();
        Self::new(
            online.first(tower),
            (running.lower_backbone.clone(), first(&running.pretext_head, statistics)),
        )
    }

    /// The target's outputs in a lower step, which updates its running statistics. Its parameters
    /// follow after the step.
    pub(super) fn step(&mut self, tower: Tower<'_>, views: &[Tensor<B, 4>]) -> Vec<Tensor<B, 2>> {
        let running = self.statistics.clone();
        let (outputs, statistics) = tower.outputs_and_statistics(&self.parameters, views, running);
        if !self.frozen {
            self.statistics = statistics;
            self.behind = true;
        }
        outputs
    }

    /// Moves towards the online network, once per step: ξ ← decay ξ + (1 − decay) θ.
    pub(super) fn follow(&mut self, tower: Tower<'_>, online: &TowerParameters<B>, decay: f64) {
        if self.frozen || !std::mem::take(&mut self.behind) {
            return;
        }
        let online = online.first(tower);
        let average = |old: &Tensor<B, 1>, new| B::axpby(1.0 - decay, new, decay, old.clone());
        self.parameters = TowerParameters {
            backbone: average(&self.parameters.backbone, &online.backbone),
            head: average(&self.parameters.head, &online.head),
        };
    }
}
