//! Initial weights, each network from a stretch of the stream of its own.

use bissl_core::Stream;

use super::tensors::Weights;
use crate::data::streams;
use crate::network::Network;

/// Which stretch of the initial-weights stream a network draws from, so that no two share draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    Backbone,
    PretextHead,
    /// The head of the warm-up.
    AlignHead,
    /// The fresh head of fine-tuning.
    FinetuneHead,
    ProbeHead,
}

/// Initial weights of a network.
pub(crate) fn initial(network: &Network, seed: u64, draw: Draw) -> Weights {
    let domain = streams::INITIAL_WEIGHTS + (draw as u16) * streams::INITIAL_WEIGHTS_STRIDE;
    let stream = Stream::new(seed, domain);
    Weights {
        parameters: network.parameters().initial(stream),
        statistics: network.statistics().initial(stream),
    }
}
