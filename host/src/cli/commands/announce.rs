//! The first lines of a run: what it works on, with which network, by which schedule.

use std::path::Path;

use crate::config::RunConfig;
use crate::data::Dataset;
use crate::kernels::Kernels;
use crate::machine;
use crate::progress::Verbosity;
use crate::stage::Task;
use crate::text::shown;

/// A stage that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Pretrain,
    Align,
    Finetune,
}

/// Prints about ten lines on the standard error, unless all should be quiet.
pub(super) fn announce<B: Kernels>(
    task: &Task<B>,
    stages: &[Stage],
    run: &Path,
    verbosity: Verbosity,
) {
    if verbosity == Verbosity::Progress {
        eprint!("{}", lines(task, stages, run));
    }
}

fn lines<B: Kernels>(task: &Task<B>, stages: &[Stage], run: &Path) -> String {
    let Task { config, images, split, networks, .. } = task;
    let mut rows = Vec::new();
    let what = if config.windows() { "windows" } else { "images" };
    let set = |set: &Dataset| format!("{} {what} of {}", set.len(), shown(set.name()));
    if let Some(pretext) = &images.pretext {
        rows.push(("pretext data", set(pretext)));
    }
    if let Some(downstream) = &images.downstream {
        let (train, validation) = (split.train.len(), split.validation.len());
        let parts = format!("{train} train, {validation} validation, {} test", split.test.len());
        let classes = downstream.classes().len();
        rows.push(("downstream data", format!("{}, {classes} classes", set(downstream))));
        rows.push(("split", format!("{parts}; seed {}", task.seed)));
    }
    let (network, parameters) = (&config.network, networks.backbone.parameters().len());
    let size = if config.windows() {
        format!("windows of {} samples", config.window.length)
    } else {
        format!("{0} × {0} pixels", config.image.size)
    };
    let architecture = format!("{} of width {}", network.architecture, network.width);
    rows.push(("network", format!("{architecture}, {parameters} parameters, {size}")));
    if stages.iter().any(|stage| *stage != Stage::Finetune) {
        rows.push((
            "method",
            format!("{}, projector {:?}", config.pretext.method, network.projector),
        ));
    }
    rows.extend(stages.iter().map(|stage| stage.schedule(task)));
    let threads = if config.threads == 0 { machine::threads() } else { config.threads };
    rows.push(("computes", format!("{}, {}, {threads} threads", config.backend, config.precision)));
    rows.push(("run", format!("{} (all settings: config.toml, or -v)", shown(run))));
    rows.iter().map(|(name, text)| format!("{name:<16}{text}\n")).collect()
}

impl Stage {
    fn schedule<B: Kernels>(self, task: &Task<B>) -> (&'static str, String) {
        let Task { config, images, split, .. } = task;
        let epochs = |epochs: u32, items: usize, batch: usize, rate: f32| {
            let steps = u64::from(epochs) * (items / batch.max(1)) as u64;
            format!("{epochs} epochs of batches of {batch}: {steps} steps, rate {rate}")
        };
        match self {
            Self::Pretrain => {
                let items = images.pretext.as_ref().map_or(0, |set| set.len() as usize);
                let RunConfig { pretrain, .. } = config;
                let text = epochs(pretrain.epochs, items, pretrain.batch, pretrain.learning_rate);
                ("pretraining", text)
            }
            Self::Align => {
                let align = &config.align;
                let (lower, upper) = (align.lower_steps, align.upper_steps);
                let text = format!(
                    "{} alternations of {lower} lower and {upper} upper steps, batch {}, {}, λ = {}",
                    align.alternations, align.batch, align.solver, align.proximity
                );
                ("alignment", text)
            }
            Self::Finetune => {
                let RunConfig { finetune, .. } = config;
                let items = split.train.len();
                let text = epochs(finetune.epochs, items, finetune.batch, finetune.learning_rate);
                ("fine-tuning", text)
            }
        }
    }
}
