//! Where a measured alternation starts: a pretrained backbone and a warmed-up head.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bissl_core::{
    Completion, Descent, DescentSettings, Group, Progress as Driven, Training, drive,
};

use crate::config::RunConfig;
use crate::data::{Split, streams};
use crate::driver::{Networks, Problem, Sources};
use crate::kernels::Kernels;
use crate::network::Curvature;
use crate::progress::{Progress, Verbosity};
use crate::run::{Origin, read_checkpoint};
use crate::stage::images::{Images, Needs, labelled_ahead, views_ahead};
use crate::stage::pretrain::{Draw, initial};
use crate::stage::state::{
    Weights, architecture, extract, group_weights, install, networks, pretext,
};

/// Steps of the head's warm-up: enough for gradients that are not those of a random head.
const WARM_UP_STEPS: u32 = 50;

/// What the user said about the start.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) from: Option<Origin>,
    pub(super) pretrain_steps: u32,
}

/// Data and weights.
pub(super) struct Started {
    pub(super) images: Images,
    pub(super) split: Split,
    pub(super) networks: Arc<Networks>,
    pub(super) backbone: Weights,
    pub(super) pretext_head: Weights,
    pub(super) upper_backbone: Weights,
    pub(super) head: Weights,
}

impl Start {
    /// Loads or trains.
    ///
    /// # Errors
    /// Data or checkpoint cannot be read; training diverges.
    pub(super) fn make<B: Kernels>(
        &self,
        config: &RunConfig,
        verbosity: Verbosity,
        device: &B::Device,
    ) -> Result<Started> {
        let images = Images::load(config, Needs::Both, &[])?;
        images.warn();
        let split = images.split(config, config.seed)?;
        let networks = Arc::new(networks(config, images.downstream().classes().len()));
        let (backbone, pretext_head) = match &self.from {
            Some(origin) => stored(origin, config, &networks)?,
            None => self.pretrain::<B>(config, &images, &networks, verbosity, device)?,
        };
        let (upper_backbone, head) =
            warm_up::<B>(config, &images, &split, &networks, &backbone, verbosity, device)?;
        Ok(Started { images, split, networks, backbone, pretext_head, upper_backbone, head })
    }

    fn pretrain<B: Kernels>(
        &self,
        config: &RunConfig,
        images: &Images,
        networks: &Networks,
        verbosity: Verbosity,
        device: &B::Device,
    ) -> Result<(Weights, Weights)> {
        let mut problem = empty::<B>(config, networks, device);
        for (group, network, draw) in [
            (Group::LowerBackbone, &networks.backbone, Draw::Backbone),
            (Group::PretextHead, &networks.pretext_head, Draw::PretextHead),
        ] {
            let weights = initial(network.parameters(), network.statistics(), config.seed, draw);
            install(&mut problem, group, &weights)?;
        }
        if self.pretrain_steps > 0 {
            let domains = (streams::PRETEXT_ORDER, streams::PRETEXT_VIEW);
            let batches = images.pretext_batches(config.align.batch, config.seed, domains)?;
            // The measured batch is not the preset's: the rate follows it linearly.
            let mut settings = config.pretrain.clone();
            settings.learning_rate *= config.align.batch as f32 / config.pretrain.batch as f32;
            (settings.epochs, settings.warm_up_epochs) = (1, 0);
            let descent = settings.descent(self.pretrain_steps)?;
            problem.replace_sources(Sources {
                lower: Some(views_ahead(batches, self.pretrain_steps)),
                ..Sources::default()
            });
            descend("pretrain", &mut problem, descent, verbosity)?;
        }
        let backbone = extract(&mut problem, Group::LowerBackbone)?;
        Ok((backbone, extract(&mut problem, Group::PretextHead)?))
    }
}

fn empty<'n, B: Kernels>(
    config: &RunConfig,
    networks: &'n Networks,
    device: &B::Device,
) -> Problem<'n, B> {
    let (device, sources) = (device.clone(), Sources::default());
    Problem::new(networks, device, sources, pretext(config), Curvature::Hessian, config.seed)
}

fn stored(origin: &Origin, config: &RunConfig, networks: &Networks) -> Result<(Weights, Weights)> {
    let path = origin.checkpoint_path()?;
    let checkpoint = read_checkpoint::<serde_json::Value>(&path, Some(&architecture(config)))?;
    let part = |group| {
        group_weights(group, networks, &checkpoint.tensors)
            .with_context(|| path.display().to_string())
    };
    match (part(Group::LowerBackbone)?, part(Group::PretextHead)?) {
        (Some(backbone), Some(head)) => Ok((backbone, head)),
        _ => bail!(
            "{}: expected the checkpoint of a pretrained or aligned run, found stage {}",
            path.display(),
            checkpoint.manifest.stage
        ),
    }
}

/// θ_D and φ_D after the head's warm-up.
fn warm_up<B: Kernels>(
    config: &RunConfig,
    images: &Images,
    split: &Split,
    networks: &Networks,
    pretrained: &Weights,
    verbosity: Verbosity,
    device: &B::Device,
) -> Result<(Weights, Weights)> {
    let domains = (streams::WARM_UP_ORDER, streams::WARM_UP_VIEW);
    let mut settings = config.warm_up.clone();
    settings.epochs = 1;
    let descent = settings.descent(WARM_UP_STEPS)?;
    let batches =
        images.labelled_batches(&split.train, config.align.upper_batch, config.seed, domains)?;
    let mut problem = empty::<B>(config, networks, device);
    problem.replace_sources(Sources {
        upper: Some(labelled_ahead(batches, WARM_UP_STEPS)),
        ..Sources::default()
    });
    let head = &networks.classifier;
    let head = initial(head.parameters(), head.statistics(), config.seed, Draw::AlignHead);
    install(&mut problem, Group::UpperBackbone, pretrained)?;
    install(&mut problem, Group::DownstreamHead, &head)?;
    descend("warm-up", &mut problem, descent, verbosity)?;
    let backbone = extract(&mut problem, Group::UpperBackbone)?;
    Ok((backbone, extract(&mut problem, Group::DownstreamHead)?))
}

/// A stage of descent that leaves no files.
fn descend<B: Kernels>(
    label: &str,
    problem: &mut Problem<'_, B>,
    settings: DescentSettings,
    verbosity: Verbosity,
) -> Result<()> {
    let mut machine = Descent::new(settings);
    let mut scalars = vec![0.0; problem.registers.scalars()];
    let mut progress = Progress::new(label, u64::from(settings.steps()), 0, verbosity);
    loop {
        match drive(&mut machine, &mut Training(&mut *problem), &mut scalars)? {
            Driven::Event(bissl_core::Event::Step(record)) => progress.step(Some(record.loss)),
            Driven::Event(_) => {}
            Driven::Done(Completion::Finished) => break,
            Driven::Done(Completion::Diverged { index }) => {
                bail!("{label}: loss or gradient is not finite at step {index}")
            }
        }
    }
    progress.finish();
    Ok(())
}
