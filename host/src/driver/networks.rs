//! The networks of a bilevel problem.

use crate::network::{Network, Tower};

/// The networks of a problem.
#[derive(Clone, Debug)]
pub struct Networks {
    /// The backbone architecture of both levels.
    pub backbone: Network,
    /// φ_P's network: the projector, followed by what the pretext method adds.
    pub pretext_head: Network,
    /// The target network's projector, if the pretext method has a target network.
    pub target_head: Option<Network>,
    /// The downstream classifier.
    pub classifier: Network,
}

impl Networks {
    /// Number of classes of the downstream task.
    pub fn classes(&self) -> usize {
        // The classifier is one linear layer; its weight has one row per class.
        self.classifier.parameters().segments()[0].shape[0]
    }

    /// Backbone and pretext head.
    pub fn pretext_tower(&self) -> Tower<'_> {
        Tower { backbone: &self.backbone, head: &self.pretext_head }
    }

    /// The target network, if the pretext method has one.
    pub fn target_tower(&self) -> Option<Tower<'_>> {
        self.target_head.as_ref().map(|head| Tower { backbone: &self.backbone, head })
    }
}
