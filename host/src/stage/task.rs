//! What the stages of one run work on.

use super::images::{Images, Needs};
use super::metric;
use crate::config::{Metric, RunConfig};
use crate::data::Split;
use crate::driver::Networks;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::model;
use crate::run::NamedTensor;

/// Data, networks and settings of a run: what every stage takes.
#[derive(Clone, Debug)]
pub struct Task<B: Kernels> {
    /// Every setting.
    pub config: RunConfig,
    /// Of every random stream; at first the configuration's.
    pub seed: u64,
    /// The data sets.
    pub images: Images,
    /// The labelled images, divided by the seed; empty where there are none.
    pub split: Split,
    /// The networks.
    pub networks: Networks,
    /// Where it is computed.
    pub device: B::Device,
    /// What stands before the names of stages: a comparison has several of each.
    pub prefix: String,
}

impl<B: Kernels> Task<B> {
    /// Opens the data sets of a configuration and makes its networks.
    ///
    /// # Errors
    /// A data set cannot be read or divided.
    pub fn load(config: RunConfig, needs: Needs, device: B::Device) -> Result<Self> {
        Self::continued(config, needs, &[], device)
    }

    /// The same, with what the tensors of a checkpoint say about the inputs.
    pub(crate) fn continued(
        config: RunConfig,
        needs: Needs,
        tensors: &[NamedTensor],
        device: B::Device,
    ) -> Result<Self> {
        let images = Images::load(&config, needs, tensors)?;
        let classes = images.downstream.as_ref().map_or(1, |set| set.classes().len());
        let networks = model::networks(&config, classes);
        let (seed, prefix) = (config.seed, String::new());
        let task = Self { config, seed, images, split: Split::default(), networks, device, prefix };
        if needs == Needs::Pretext { Ok(task) } else { task.with_seed(seed) }
    }

    /// The same of another seed, which divides the labelled images anew.
    ///
    /// # Errors
    /// They cannot be divided.
    pub fn with_seed(&self, seed: u64) -> Result<Self> {
        let split = self.images.split(&self.config, seed)?;
        Ok(Self { seed, split, ..self.clone() })
    }

    /// The name of a stage.
    pub(crate) fn stage(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What a classifier is judged by.
    ///
    /// # Errors
    /// The metric needs one label an image, and there are several.
    pub fn metric(&self) -> Result<Metric> {
        metric::chosen(self.config.evaluate.metric, self.images.downstream().task())
    }
}
