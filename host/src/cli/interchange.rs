//! The words of `bissl import`, `bissl export`, `bissl features` and `bissl predict`.

use std::path::PathBuf;

use clap::Args;

use super::words::{Settings, named};
use crate::config::RunConfig;
use crate::interchange::{
    ExportFormat, ExportJob, FeaturesJob, ImportJob, NetworkHints, PredictJob, PredictionFormat,
};
use crate::kernels::BackendName;
use crate::network::{Architecture, Stem};
use crate::run::{Origin, RunError};

/// The arguments of `import`.
#[derive(Clone, Debug, Args)]
pub(super) struct ImportArguments {
    /// A file of torch.save (.pth, .pt, .ckpt, .tar) or a .safetensors file with a ResNet, wherever
    /// in it and behind whatever prefix.
    file: PathBuf,
    /// Folder of the new run; must be absent or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The dictionary of weights in a checkpoint that holds several, keys from the outermost in
    /// joined by dots [default: whichever holds a ResNet].
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// What stands before the backbone's names, such as `module.encoder_k.` [default: whatever
    /// stands before a ResNet's; of several the trained network, of student and teacher the
    /// teacher].
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Family of the backbone [default: by the names of its tensors].
    #[arg(long, value_name = "NAME", value_parser = named::<Architecture>(Architecture::NAMES))]
    architecture: Option<Architecture>,
    /// First layers [default: imagenet for a 7×7 kernel, small for a 3×3 one; small-strided has to
    /// be said].
    #[arg(long, value_name = "NAME", value_parser = named::<Stem>(Stem::NAMES))]
    stem: Option<Stem>,
    #[command(flatten)]
    pub(super) settings: Settings,
}

impl ImportArguments {
    /// The job that they describe, with these settings.
    pub(super) fn job(self, config: RunConfig) -> ImportJob {
        let Self { file, out, key, prefix, architecture, stem, settings: _ } = self;
        let hints = NetworkHints { architecture, width: None, stem };
        ImportJob { file, key, prefix, hints, out, config }
    }
}

/// The arguments of `export`.
#[derive(Clone, Debug, Args)]
pub(super) struct ExportArguments {
    /// Folder of a run or of one of its checkpoints.
    #[arg(long, value_name = "RUN")]
    from: PathBuf,
    /// What to write: a backbone under torchvision's names, or encoder and projector as a flash
    /// image.
    #[arg(long, value_name = "FORMAT", default_value = "safetensors", value_parser = named::<ExportFormat>(ExportFormat::NAMES))]
    to: ExportFormat,
    /// File to write; replaced if it exists.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl ExportArguments {
    pub(super) fn job(self) -> Result<ExportJob, RunError> {
        Ok(ExportJob { from: Origin::of(&self.from)?, to: self.to, out: self.out })
    }
}

/// The arguments of `features`.
#[derive(Clone, Debug, Args)]
pub(super) struct FeaturesArguments {
    /// Folder of a run or of one of its checkpoints.
    #[arg(long, value_name = "RUN")]
    from: PathBuf,
    /// A safetensors file with `images`: [n, channels, height, width], normalised pixels or
    /// samples, f32.
    #[arg(long, value_name = "FILE.safetensors")]
    input: PathBuf,
    /// File to write, with `features`: [n, features]; replaced if it exists.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// What computes [default: what the run says].
    #[arg(long, value_name = "NAME", value_parser = named::<BackendName>(BackendName::NAMES))]
    backend: Option<BackendName>,
}

impl FeaturesArguments {
    pub(super) fn job(self) -> Result<FeaturesJob, RunError> {
        let Self { from, input, out, backend } = self;
        Ok(FeaturesJob { from: Origin::of(&from)?, input, out, backend })
    }
}

/// The arguments of `predict`.
#[derive(Clone, Debug, Args)]
pub(super) struct PredictArguments {
    /// Folder of a fine-tuned run or of one of its checkpoints.
    #[arg(long, value_name = "RUN")]
    from: PathBuf,
    /// Image files, and folders whose images are taken at any depth.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Classes of each image, likeliest first; as many as there are, if there are fewer.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    top: u32,
    /// Write a JSON object a line instead of CSV.
    #[arg(long)]
    json: bool,
    /// File to write [default: the standard output]; replaced if it exists.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// What computes [default: what the run says].
    #[arg(long, value_name = "NAME", value_parser = named::<BackendName>(BackendName::NAMES))]
    backend: Option<BackendName>,
}

impl PredictArguments {
    pub(super) fn job(&self) -> Result<PredictJob, RunError> {
        let format = if self.json { PredictionFormat::JsonLines } else { PredictionFormat::Csv };
        let (from, paths) = (Origin::of(&self.from)?, self.paths.clone());
        Ok(PredictJob { from, paths, top: self.top as usize, format, backend: self.backend })
    }
}
