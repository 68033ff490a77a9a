//! Running statistics of the networks.

use burn_tensor::Tensor;

use super::{Networks, upload};
use crate::kernels::Kernels;
use crate::network::{Network, Running};

/// Running statistics of the batch norms, flat.
#[derive(Clone, Debug)]
pub struct Statistics<B: Kernels> {
    /// Of θ_P.
    pub lower_backbone: Tensor<B, 1>,
    /// Of θ_D.
    pub upper_backbone: Tensor<B, 1>,
    /// Of the pretext head.
    pub pretext_head: Tensor<B, 1>,
}

impl<B: Kernels> Statistics<B> {
    /// Initial statistics: means of 0 and variances of 1.
    pub fn initial(networks: &Networks, device: &B::Device) -> Self {
        let initial = |network: &Network| {
            // The stream is not used: statistics start at constants.
            let values = network.statistics().initial(bissl_core::Stream::new(0, 0));
            let len = values.len();
            upload(values, [len], device)
        };
        Self {
            lower_backbone: initial(&networks.backbone),
            upper_backbone: initial(&networks.backbone),
            pretext_head: initial(&networks.pretext_head),
        }
    }

    /// Those of θ_P and φ_P.
    pub(super) fn lower(&self) -> Running<B> {
        (self.lower_backbone.clone(), self.pretext_head.clone())
    }

    pub(super) fn set_lower(&mut self, (backbone, head): Running<B>) {
        self.lower_backbone = backbone;
        self.pretext_head = head;
    }
}
