//! Where a measured alternation starts: a pretrained backbone and a warmed-up head, without files.

use std::sync::Arc;

use crate::error::{Result, fail};
use bissl_core::{Completion, Descent, DescentSettings, Progress as Driven, Training, drive};

use super::images::{Images, Needs, labelled_ahead, views_ahead};
use super::initial::Draw;
use super::origin::{Pretrained, Stored};
use super::tensors::Weights;
use super::warm_up::{Downstream, Warmed};
use super::{bilevel, pretrain, warm_up};
use crate::config::RunConfig;
use crate::data::{Split, streams};
use crate::driver::{Networks, Problem, Sources};
use crate::kernels::Kernels;
use crate::model;
use crate::progress::{Progress, Verbosity};
use crate::run::Origin;

/// Steps of the head's warm-up: enough for gradients that are not those of a random head.
const WARM_UP_STEPS: u32 = 50;

/// What the user said about the start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) from: Option<Origin>,
    pub(crate) pretrain_steps: u32,
}

/// Data and weights.
pub(crate) struct Started {
    pub(crate) images: Images,
    pub(crate) split: Split,
    pub(crate) networks: Arc<Networks>,
    pretrained: Pretrained,
    warmed: Warmed,
}

impl Start {
    /// Loads or trains.
    ///
    /// # Errors
    /// Data or checkpoint cannot be read; the checkpoint has seen labels of another seed; training
    /// diverges.
    pub(crate) fn make<B: Kernels>(
        &self,
        config: &RunConfig,
        verbosity: Verbosity,
        device: &B::Device,
    ) -> Result<Started> {
        let stored = self.from.as_ref().map(|from| Stored::open(from, config)).transpose()?;
        let images =
            Images::load(config, Needs::Both, stored.as_ref().map_or(&[], Stored::tensors))?;
        images.warn();
        let split = images.split(config, config.seed)?;
        let networks = Arc::new(model::networks(config, images.downstream().classes().len()));
        let pretrained = match &stored {
            Some(stored) => {
                stored.require_same_labels(config)?;
                stored.pretrained(&networks)?
            }
            None => self.pretrain::<B>(config, &images, &networks, verbosity, device)?,
        };
        let task = Downstream {
            config,
            seed: config.seed,
            images: &images,
            split: &split,
            networks: &networks,
        };
        let warmed = warmed::<B>(task, &pretrained.backbone, verbosity, device)?;
        Ok(Started { images, split, networks, pretrained, warmed })
    }

    fn pretrain<B: Kernels>(
        &self,
        config: &RunConfig,
        images: &Images,
        networks: &Networks,
        verbosity: Verbosity,
        device: &B::Device,
    ) -> Result<Pretrained> {
        let (seed, sources) = (config.seed, Sources::default());
        let mut problem = pretrain::problem::<B>(config, seed, networks, sources, device)?;
        if self.pretrain_steps > 0 {
            let domains = (streams::PRETEXT_ORDER, streams::PRETEXT_VIEW);
            let batches = images.pretext_batches(config.align.batch, seed, domains)?;
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
        pretrain::result(&mut problem)
    }
}

/// θ_D and φ_D after the head's warm-up.
fn warmed<B: Kernels>(
    task: Downstream<'_>,
    backbone: &Weights,
    verbosity: Verbosity,
    device: &B::Device,
) -> Result<Warmed> {
    let Downstream { config, seed, images, split, networks } = task;
    let domains = (streams::WARM_UP_ORDER, streams::WARM_UP_VIEW);
    let batches = images.labelled_batches(&split.train, config.align.upper_batch, seed, domains)?;
    let mut settings = config.warm_up.clone();
    settings.epochs = 1;
    let descent = settings.descent(WARM_UP_STEPS)?;
    let upper = Some(labelled_ahead(batches, WARM_UP_STEPS));
    let sources = Sources { upper, ..Sources::default() };
    let start = (backbone, Draw::AlignHead);
    let mut problem = warm_up::problem::<B>(config, seed, networks, sources, start, device)?;
    descend("warm-up", &mut problem, descent, verbosity)?;
    warm_up::result(&mut problem)
}

impl Started {
    /// The batches of the bilevel stage.
    ///
    /// # Errors
    /// Fewer images than a batch.
    pub(crate) fn batches(&self, config: &RunConfig) -> Result<bilevel::Batches> {
        bilevel::Batches::new(config, config.seed, &self.images, &self.split.train)
    }

    /// The bilevel problem at these weights.
    ///
    /// # Errors
    /// Weights that do not fit the networks.
    pub(crate) fn problem<B: Kernels>(
        &self,
        config: &RunConfig,
        sources: Sources,
        device: &B::Device,
    ) -> Result<Problem<'_, B>> {
        let begin = (&self.pretrained, &self.warmed);
        bilevel::problem(config, config.seed, &self.networks, sources, begin, device)
    }
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
                fail!("{label}: loss or gradient is not finite at step {index}")
            }
        }
    }
    progress.finish();
    Ok(())
}
