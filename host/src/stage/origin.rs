//! What a stage starts from: a checkpoint, and the weights that it accepts of it. The one place
//! that decides what `--from` may be.

use std::path::PathBuf;

use crate::error::{Error, Place, Result, fail};
use bissl_core::Group;
use serde_json::Value;

use super::tensors::{BEST_BACKBONE, BEST_HEAD, Weights, group_weights, target_weights, weights};
use crate::config::RunConfig;
use crate::driver::Networks;
use crate::model::architecture;
use crate::run::{Checkpoint, NamedTensor, Origin, read_checkpoint};
use crate::text::shown;

/// The stage of weights that another program trained.
pub(crate) const IMPORT: &str = "import";

/// A pretrained network.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// θ_P.
    pub backbone: Weights,
    /// φ_P.
    pub head: Weights,
}

/// A checkpoint whose networks are those of a configuration.
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    checkpoint: Checkpoint<Value>,
}

impl Stored {
    /// Reads the checkpoint that `from` means.
    ///
    /// # Errors
    /// There is none, it is damaged, or its networks are others.
    pub(crate) fn open(from: &Origin, config: &RunConfig) -> Result<Self> {
        Self::read(from.checkpoint_path()?, config)
    }

    /// Reads the checkpoint in a folder.
    ///
    /// # Errors
    /// It is damaged, or its networks are others.
    pub(crate) fn read(path: PathBuf, config: &RunConfig) -> Result<Self> {
        let checkpoint = read_checkpoint(&path, Some(&architecture(config)))?;
        Ok(Self { path, checkpoint })
    }

    /// Its tensors.
    pub(crate) fn tensors(&self) -> &[NamedTensor] {
        &self.checkpoint.tensors
    }

    /// Stage and steps that were done.
    pub(crate) fn position(&self) -> (&str, u64) {
        let manifest = &self.checkpoint.manifest;
        (&manifest.stage, manifest.step)
    }

    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.at_with(|| shown(&self.path).to_string())
    }

    fn group(&self, networks: &Networks, group: Group) -> Result<Option<Weights>> {
        self.named(group_weights(group, networks, self.tensors()))
    }

    fn unpretrained<T>(&self) -> Result<T> {
        fail!(
            "{}: expected the checkpoint of a pretrained or aligned run, found stage {}",
            shown(&self.path),
            self.checkpoint.manifest.stage
        )
    }

    /// θ_P and φ_P.
    ///
    /// # Errors
    /// The stage has none.
    pub(crate) fn pretrained(&self, networks: &Networks) -> Result<Pretrained> {
        match self.pretext(networks)? {
            Some(pretrained) => Ok(pretrained),
            None => self.unpretrained(),
        }
    }

    /// θ_P and φ_P; `None` of a stage without them.
    ///
    /// # Errors
    /// Tensors are missing or of other shapes.
    pub(crate) fn pretext(&self, networks: &Networks) -> Result<Option<Pretrained>> {
        let backbone = self.group(networks, Group::LowerBackbone)?;
        let head = self.group(networks, Group::PretextHead)?;
        Ok(backbone.zip(head).map(|(backbone, head)| Pretrained { backbone, head }))
    }

    /// The target network's backbone and projector; `None` where there is none.
    ///
    /// # Errors
    /// Tensors are missing or of other shapes.
    pub(crate) fn target(&self, networks: &Networks) -> Result<Option<(Weights, Weights)>> {
        self.named(target_weights(networks, self.tensors()))
    }

    /// θ_P alone.
    ///
    /// # Errors
    /// The stage has none.
    pub(crate) fn backbone(&self, networks: &Networks) -> Result<Weights> {
        match self.group(networks, Group::LowerBackbone)? {
            Some(backbone) => Ok(backbone),
            None => self.unpretrained(),
        }
    }

    /// The backbone that the checkpoint is about, and its head if it has been fine-tuned.
    ///
    /// # Errors
    /// There is no backbone.
    pub(crate) fn result(&self, networks: &Networks) -> Result<(Weights, Option<Weights>)> {
        self.named(self.judged(networks))
    }

    fn judged(&self, networks: &Networks) -> Result<(Weights, Option<Weights>)> {
        let tensors = self.tensors();
        if let Some(backbone) = group_weights(Group::LowerBackbone, networks, tensors)? {
            return Ok((backbone, None));
        }
        let best = weights(BEST_BACKBONE, &networks.backbone, tensors)?;
        let best_head = weights(BEST_HEAD, &networks.classifier, tensors)?;
        if let (Some(backbone), Some(head)) = (best, best_head) {
            return Ok((backbone, Some(head)));
        }
        let backbone = group_weights(Group::UpperBackbone, networks, tensors)?;
        let head = group_weights(Group::DownstreamHead, networks, tensors)?;
        match backbone {
            Some(backbone) => Ok((backbone, head)),
            None => fail!("it holds no backbone"),
        }
    }

    /// Whether the stage has seen labels.
    pub(crate) fn saw_labels(&self) -> bool {
        let stage = &self.checkpoint.manifest.stage;
        !(stage.ends_with("pretrain") || stage == IMPORT)
    }

    /// Whether it holds a fine-tuned head.
    pub(crate) fn fine_tuned(&self) -> bool {
        self.checkpoint.manifest.stage.contains("finetune")
    }

    /// The seed of the stage: labels that it has seen are those of this seed's split.
    ///
    /// # Errors
    /// The checkpoint states none.
    pub(crate) fn seed(&self) -> Result<u64> {
        match self.checkpoint.state["seed"].as_u64() {
            Some(seed) => Ok(seed),
            None => {
                let stage = &self.checkpoint.manifest.stage;
                self.named(Err(Error::Failed(format!("stage {stage} states no seed"))))
            }
        }
    }

    /// Refuses a backbone that has seen other labels than those of `config`'s seed: some of them
    /// would be among the test images.
    ///
    /// # Errors
    /// The seeds differ.
    pub(crate) fn require_same_labels(&self, config: &RunConfig) -> Result<()> {
        let (stage, seed) = (&self.checkpoint.manifest.stage, self.seed()?);
        if !self.saw_labels() || seed == config.seed {
            return Ok(());
        }
        self.named(Err(Error::Failed(format!(
            "stage {stage} has seen labels of seed {seed}, and this run divides them by seed {}: \
             use --seed {seed}",
            config.seed
        ))))
    }
}
