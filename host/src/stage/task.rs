//! What the stages of one run work on.

use std::sync::Arc;

use super::images::{Images, Needs};
use super::metric;
use super::record::Known;
use crate::config::{ClassWeights, Metric, RunConfig};
use crate::data::{Dataset, Split, Targets};
use crate::driver::{Classification, Downstream, Networks, ProblemSettings, balanced_weights};
use crate::error::{Result, fail};
use crate::kernels::Kernels;
use crate::model;
use crate::network::Network;
use crate::network::pretext::{Method, PretextTask, Projector};
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
    /// The pretext method.
    pub pretext: Arc<dyn Method<B>>,
    /// The downstream task: of the training labels, where classes are weighted by them.
    pub downstream: Arc<dyn Downstream<B>>,
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
        Self::continued(config, needs, &[], &Known::default(), device)
    }

    /// The same, with what the tensors of a checkpoint and a record say about the inputs.
    ///
    /// # Errors
    /// A data set cannot be read or divided, or is not as it is recorded.
    pub(crate) fn continued(
        config: RunConfig,
        needs: Needs,
        tensors: &[NamedTensor],
        known: &Known,
        device: B::Device,
    ) -> Result<Self> {
        let images = Images::load(&config, needs, tensors, known)?;
        let known = |set: &Arc<Dataset>| set.classes().len() - images.unknown_classes().len();
        let classes = images.downstream.as_ref().map_or(1, known);
        let seed = config.seed;
        let task = Self::on(images, classes, config, device);
        if needs == Needs::Pretext { Ok(task) } else { task.with_seed(seed) }
    }

    /// A task on given images, which are not divided.
    pub(crate) fn on(images: Images, classes: usize, config: RunConfig, device: B::Device) -> Self {
        Self {
            seed: config.seed,
            images,
            split: Split::default(),
            networks: model::networks(&config, classes),
            pretext: model::method(&config),
            downstream: Arc::new(model::classification(&config, classes)),
            device,
            prefix: String::new(),
            config,
        }
    }

    /// The same of another seed, which divides the labelled images anew.
    ///
    /// # Errors
    /// They cannot be divided; their labels do not allow the configuration's class weights.
    pub fn with_seed(&self, seed: u64) -> Result<Self> {
        let (split, notes) = self.images.split(&self.config, seed)?;
        let mut images = self.images.clone();
        images.warnings.extend(notes);
        let downstream = match self.config.downstream.class_weights {
            ClassWeights::None => Arc::clone(&self.downstream),
            ClassWeights::Balanced => balanced(&self.config, &self.images, &split.train)?,
        };
        Ok(Self { seed, images, split, downstream, ..self.clone() })
    }

    /// The same with a pretext method of the caller's own.
    ///
    /// # Errors
    /// The backbone does not end in features.
    pub fn with_pretext(self, pretext: Arc<dyn Method<B>>) -> Result<Self> {
        Self { pretext, ..self }.with_new_heads()
    }

    /// The same with a downstream task of the caller's own. Metrics of [`stage`](super) are those
    /// of the data set's classes: judge another kind of outputs by [`scores`](super::scores).
    ///
    /// # Errors
    /// The backbone does not end in features.
    pub fn with_downstream(self, downstream: Arc<dyn Downstream<B>>) -> Result<Self> {
        Self { downstream, ..self }.with_new_heads()
    }

    /// The same with a backbone of the caller's own, on inputs of the configuration's size.
    ///
    /// A [`Session`](super::Session) stores it under the configured backbone's name: weights of
    /// such a run are the caller's to keep apart.
    ///
    /// # Errors
    /// It does not end in features: pool the maps first.
    pub fn with_backbone(self, backbone: Network) -> Result<Self> {
        let networks = Networks { backbone, ..self.networks };
        Self { networks, ..self }.with_new_heads()
    }

    fn with_new_heads(mut self) -> Result<Self> {
        let shape = self.networks.backbone.output_shape();
        let Some(features) = shape.values() else {
            fail!("the backbone ends in {shape}, expected features: pool the maps first");
        };
        let (norm, widths) = (model::head_norm(&self.config), &self.config.network.projector);
        let projector = Projector { features, widths, norm };
        let precise = |network: Network| network.multiplying_in(self.config.precision);
        let pretext: &dyn PretextTask = &*self.pretext;
        self.networks = Networks {
            pretext_head: precise(pretext.head(&projector)),
            target_head: pretext.target_head(&projector).map(precise),
            classifier: precise(self.downstream.head(features)),
            backbone: precise(self.networks.backbone),
        };
        Ok(self)
    }

    /// What a problem computes by the settings of `config`: the task's own, or what is measured in
    /// its place.
    pub(crate) fn problem_settings(&self, config: &RunConfig) -> ProblemSettings<B> {
        let (pretext, downstream) = (Arc::clone(&self.pretext), Arc::clone(&self.downstream));
        model::problem_settings(config, self.seed, pretext, downstream)
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

/// Classification in which all classes of the training items count alike.
///
/// # Errors
/// Several labels an image; a class without a training item.
fn balanced<B: Kernels>(
    config: &RunConfig,
    images: &Images,
    train: &[u32],
) -> Result<Arc<dyn Downstream<B>>> {
    let set = images.downstream();
    let (key, chosen) = ("downstream.class_weights", ClassWeights::Balanced);
    let Targets::Classes(labels) = set.targets(train)? else {
        fail!(
            "{key}: {chosen} needs one label an image, found a set with several, expected \"{}\"",
            ClassWeights::None
        );
    };
    let names = set.classes();
    match balanced_weights(&labels, names.len()) {
        Ok(weights) => {
            let task = model::classification(config, names.len());
            Ok(Arc::new(Classification { class_weights: Some(weights), ..task }))
        }
        Err(absent) => fail!(
            "{key}: {chosen} needs a training image of every class, found none of {}",
            names[absent]
        ),
    }
}
