//! Makes networks from settings, and everything that a problem computes with them.

mod methods;

pub(crate) use methods::{default_pretext, method, pretext};

use std::sync::Arc;

use crate::config::{Family, NetworkSettings, RunConfig};
use crate::driver::{Classification, Downstream, DownstreamTask, Networks, ProblemSettings};
use crate::kernels::Kernels;
use crate::network::multi_label::MultiLabel;
use crate::network::pretext::{HeadNorm, Method, Projector};
use crate::network::{
    BackboneSettings, Recompute, backbone, layered, layered_features, output_width,
};
use crate::{config, network};

/// The networks of a configuration. `classes` is that of the downstream task, or 1 without one.
pub(crate) fn networks(config: &RunConfig, classes: usize) -> Networks {
    let (backbone, features) = match config.network.architecture {
        Family::Residual(architecture) => {
            let NetworkSettings { width, stem, .. } = config.network;
            let settings = BackboneSettings { architecture, width, stem };
            (backbone(settings), output_width(settings))
        }
        Family::Layers => {
            let (layers, input) = (&config.network.layers, config.input());
            let checked = "the configuration was checked";
            let features = layered_features(layers, input).expect(checked);
            (layered(layers, input).expect(checked), features)
        }
    };
    let (norm, widths) = (head_norm(config), &config.network.projector);
    let projector = Projector { features, widths, norm };
    let pretext = pretext(config);
    let precise = |network: network::Network| network.multiplying_in(config.precision);
    Networks {
        backbone: precise(backbone),
        pretext_head: precise(pretext.head(&projector)),
        target_head: pretext.target_head(&projector).map(precise),
        classifier: precise(classification(config, classes).head(features)),
    }
}

/// The normalisation between the layers of heads, as in the configured backbone.
pub(crate) fn head_norm(config: &RunConfig) -> HeadNorm {
    match config.network.architecture {
        Family::Residual(_) => HeadNorm::Batch,
        Family::Layers => HeadNorm::Absent,
    }
}

/// The downstream task of a configuration, with equal class weights.
pub(crate) fn classification(config: &RunConfig, classes: usize) -> Classification {
    let multi_label = match config.downstream.multi_label_loss {
        config::MultiLabelLoss::Binary => MultiLabel::Binary,
        config::MultiLabelLoss::Softmax => MultiLabel::Softmax,
    };
    Classification { classes, multi_label, class_weights: None }
}

/// Everything that the problem of a stage computes. Settings that a stage does not use have no
/// effect.
pub(crate) fn problem_settings<B: Kernels>(
    config: &RunConfig,
    seed: u64,
    pretext: Arc<dyn Method<B>>,
    downstream: Arc<dyn Downstream<B>>,
) -> ProblemSettings<B> {
    let align = &config.align;
    ProblemSettings {
        pretext,
        downstream,
        curvature: align.curvature,
        recompute: recompute(config),
        statistics: align.statistics,
        lasting: align
            .solver()
            .map_or(Vec::new(), |solver| solver.facts().lasting_registers.to_vec()),
        seed,
    }
}

/// What products recompute.
pub(crate) fn recompute(config: &RunConfig) -> Recompute {
    if config.align.recompute { Recompute::Cotangents } else { Recompute::Nothing }
}

/// Description of the networks. Two are equal only if weights are interchangeable.
pub(crate) fn architecture(config: &RunConfig) -> String {
    let network = &config.network;
    let beyond = pretext(config).beyond_projector().map_or_else(String::new, |it| format!(" {it}"));
    let projector = &network.projector;
    if network.architecture == Family::Layers {
        let layers: Vec<String> = network.layers.iter().map(ToString::to_string).collect();
        let [channels, height, width] = config.input();
        let layers = layers.join(", ");
        return format!(
            "layers [{layers}] of {channels}x{height}x{width} projector {projector:?}{beyond}"
        );
    }
    format!(
        "{} width {} stem {} projector {projector:?}{beyond}",
        network.architecture, network.width, network.stem
    )
}
