//! Where a measured alternation starts: a pretrained backbone and a warmed-up head, without files.

use super::images::Needs;
use super::observer::Observer;
use super::origin::{Pretrained, Stored};
use super::record::Known;
use super::task::Task;
use super::warm_up::Headed;
use super::{bilevel, pretrain, warm_up};
use crate::config::RunConfig;
use crate::driver::{Problem, Sources};
use crate::error::Result;
use crate::kernels::Kernels;
use crate::progress::{Progress, Verbosity, warn};
use crate::run::Origin;

/// Steps of the head's warm-up: enough for gradients that are not those of a random head.
const WARM_UP_STEPS: u32 = 50;

/// What the user said about the start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) from: Option<Origin>,
    pub(crate) pretrain_steps: u32,
}

/// A task with the weights at which its bilevel stage begins.
pub(crate) struct Started<B: Kernels> {
    pub(crate) task: Task<B>,
    pretrained: Pretrained,
    warmed: Headed,
}

/// Shows the progress of stages that leave no files.
struct Shown {
    verbosity: Verbosity,
    progress: Option<Progress>,
}

impl Observer for Shown {
    fn begin(&mut self, stage: &str, steps: u64, done: u64) {
        self.progress = Some(Progress::new(stage, steps, done, self.verbosity));
    }

    fn step(&mut self, loss: Option<f32>) {
        if let Some(progress) = &mut self.progress {
            progress.step(loss);
        }
    }

    fn end(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }
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
    ) -> Result<Started<B>> {
        let stored = self.from.as_ref().map(|from| Stored::open(from, config)).transpose()?;
        let tensors = stored.as_ref().map_or(&[][..], Stored::tensors);
        let task = Task::continued(
            config.clone(),
            Needs::Both,
            tensors,
            &Known::default(),
            device.clone(),
        )?;
        task.images.warnings.iter().for_each(|warning| warn(warning));
        let mut shown = Shown { verbosity, progress: None };
        let pretrained = match &stored {
            Some(stored) => {
                stored.require_same_labels(config)?;
                stored.pretrained(&task.networks)?
            }
            None => self.pretrain(&task, &mut shown)?,
        };
        let batches = warm_up::batches(&task, config.align.upper_batch)?;
        let mut settings = config.warm_up.clone();
        settings.epochs = 1;
        let descent = settings.descent(WARM_UP_STEPS)?;
        let warmed = warm_up::descend(&task, &pretrained.backbone, batches, descent, &mut shown)?;
        Ok(Started { task, pretrained, warmed })
    }

    fn pretrain<B: Kernels>(&self, task: &Task<B>, shown: &mut Shown) -> Result<Pretrained> {
        let config = &task.config;
        if self.pretrain_steps == 0 {
            return pretrain::result(&mut pretrain::problem(task, Sources::default())?);
        }
        let batches = pretrain::batches(task, config.align.batch)?;
        // The measured batch is not the preset's: the rate follows it linearly.
        let mut settings = config.pretrain.clone();
        settings.learning_rate *= config.align.batch as f32 / config.pretrain.batch as f32;
        (settings.epochs, settings.warm_up_epochs) = (1, 0);
        let descent = settings.descent(self.pretrain_steps)?;
        pretrain::descend(task, batches, descent, None, shown)
    }
}

impl<B: Kernels> Started<B> {
    /// The batches of the bilevel stage.
    ///
    /// # Errors
    /// Fewer images than a batch.
    pub(crate) fn batches(&self, config: &RunConfig) -> Result<bilevel::Batches> {
        bilevel::Batches::new(config, &self.task)
    }

    /// The bilevel problem at these weights, by the settings that are measured.
    ///
    /// # Errors
    /// Weights that do not fit the networks.
    pub(crate) fn problem(&self, config: &RunConfig, sources: Sources) -> Result<Problem<'_, B>> {
        bilevel::problem(config, &self.task, sources, (&self.pretrained, &self.warmed))
    }
}
