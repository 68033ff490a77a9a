//! From settings to networks, and to everything that a problem computes on them.

use crate::config::{Family, MethodName, NetworkSettings, RunConfig};
use crate::driver::{Networks, ProblemSettings};
use crate::network::multi_label::MultiLabel;
use crate::network::pretext::{Byol, HeadNorm, NtXent, Pretext, Vicreg};
use crate::network::{
    BackboneSettings, Recompute, backbone, classifier, layered, layered_features, output_width,
};
use crate::{config, network};

/// The networks of a configuration; `classes` of the downstream task, 1 where there is none.
pub(crate) fn networks(config: &RunConfig, classes: usize) -> Networks {
    let (backbone, features, norm) = match config.network.architecture {
        Family::Residual(architecture) => {
            let NetworkSettings { width, stem, .. } = config.network;
            let settings = BackboneSettings { architecture, width, stem };
            (backbone(settings), output_width(settings), HeadNorm::Batch)
        }
        Family::Layers => {
            let (layers, input) = (&config.network.layers, config.input());
            let checked = "the configuration was checked";
            let features = layered_features(layers, input).expect(checked);
            (layered(layers, input).expect(checked), features, HeadNorm::Absent)
        }
    };
    let projector = &config.network.projector;
    let pretext = pretext(config);
    let precise = |network: network::Network| network.multiplying_in(config.precision);
    Networks {
        backbone: precise(backbone),
        pretext_head: precise(pretext.head(features, projector, norm)),
        target_head: pretext.target_head(features, projector, norm).map(precise),
        classifier: precise(classifier(features, classes)),
    }
}

/// The loss of images with several labels.
pub(crate) fn multi_label(config: &RunConfig) -> MultiLabel {
    match config.downstream.multi_label_loss {
        config::MultiLabelLoss::Binary => MultiLabel::Binary,
        config::MultiLabelLoss::Softmax => MultiLabel::Softmax,
    }
}

/// The pretext method of a configuration.
pub(crate) fn pretext(config: &RunConfig) -> Pretext {
    let RunConfig { simclr, byol, vicreg, .. } = config;
    match config.pretext.method {
        MethodName::Simclr => {
            Pretext::Simclr(NtXent { temperature: f64::from(simclr.temperature) })
        }
        MethodName::Byol => {
            Pretext::Byol(Byol { decay: f64::from(byol.decay), predictor: byol.predictor.clone() })
        }
        MethodName::Vicreg => Pretext::Vicreg(Vicreg {
            invariance: f64::from(vicreg.invariance),
            variance: f64::from(vicreg.variance),
            covariance: f64::from(vicreg.covariance),
            deviation: f64::from(vicreg.deviation),
            epsilon: f64::from(vicreg.epsilon),
        }),
    }
}

/// Everything that a problem of a stage computes; what a stage does not ask for has no effect on it.
pub(crate) fn problem_settings(config: &RunConfig, seed: u64) -> ProblemSettings {
    let align = &config.align;
    ProblemSettings {
        pretext: pretext(config),
        multi_label: multi_label(config),
        curvature: align.curvature,
        recompute: recompute(config),
        statistics: align.statistics,
        lasting: align
            .solver()
            .map_or(Vec::new(), |solver| solver.facts().lasting_registers.to_vec()),
        seed,
    }
}

/// What products compute anew.
pub(crate) fn recompute(config: &RunConfig) -> Recompute {
    if config.align.recompute { Recompute::Cotangents } else { Recompute::Nothing }
}

/// The networks in words: equal only where weights are interchangeable.
pub(crate) fn architecture(config: &RunConfig) -> String {
    let network = &config.network;
    let predictor = match pretext(config) {
        Pretext::Byol(Byol { predictor, .. }) => format!(" predictor {predictor:?}"),
        Pretext::Simclr(_) | Pretext::Vicreg(_) => String::new(),
    };
    let projector = &network.projector;
    if network.architecture == Family::Layers {
        let layers: Vec<String> = network.layers.iter().map(ToString::to_string).collect();
        let [channels, height, width] = config.input();
        let layers = layers.join(", ");
        return format!(
            "layers [{layers}] of {channels}x{height}x{width} projector {projector:?}{predictor}"
        );
    }
    format!(
        "{} width {} stem {} projector {projector:?}{predictor}",
        network.architecture, network.width, network.stem
    )
}
