//! The words of `bissl hvp` and `bissl spectrum`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::words::{Output, Settings, named};
use crate::config::MethodName;
use crate::curvature::{CheckpointSelection, HvpJob};
use crate::interchange::NetworkHints;
use crate::kernels::BackendName;
use crate::network::{Architecture, Curvature, Stem};
use crate::report::Format;
use crate::run::Precision;

fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::NAMES.iter().copied()).map(|name| match name.as_str() {
        "f64" => Precision::F64,
        _ => Precision::F32,
    })
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// The arguments of `hvp`.
#[derive(Clone, Debug, Args)]
pub(super) struct HvpArguments {
    /// Parameters of backbone and projector: torchvision's names, and `projector.0.weight` and so
    /// on, of BYOL also `predictor.0.weight` and so on; or weights.safetensors of a run's
    /// checkpoint.
    #[arg(long, value_name = "FILE")]
    backbone: PathBuf,
    /// Two views of a batch, `view_a` and `view_b`: [batch, 3, height, width], normalised pixels.
    #[arg(long, value_name = "FILE")]
    views: PathBuf,
    /// The vector: one tensor for each parameter of the backbone, by name.
    #[arg(long, value_name = "FILE")]
    vector: PathBuf,
    /// File to write: `loss`, `gradient.NAME`, `product.NAME`; replaced if it exists.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The pretext loss, with the default preset's settings.
    #[arg(long, value_name = "NAME", default_value = "simclr", value_parser = named::<MethodName>(MethodName::NAMES))]
    objective: MethodName,
    /// The target network of BYOL: parameters of its backbone and projector, named as in
    /// --backbone; or weights.safetensors of a run's checkpoint.
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// The operator: hessian (exact) or gauss-newton (positive semi-definite).
    #[arg(long, value_name = "NAME", default_value = "hessian", value_parser = named::<Curvature>(Curvature::NAMES))]
    curvature: Curvature,
    /// Temperature of NT-Xent, with simclr [default: 0.5].
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = temperature)]
    temperature: Option<f64>,
    /// Numbers to compute and write in; f64 needs a build with `--features ndarray`.
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = precision())]
    precision: Precision,
    /// What computes [default: the first that this binary has for the precision].
    #[arg(long, value_name = "NAME", value_parser = named::<BackendName>(BackendName::NAMES))]
    backend: Option<BackendName>,
    /// Family of the backbone [default: by the names of its tensors].
    #[arg(long, value_name = "NAME", value_parser = named::<Architecture>(Architecture::NAMES))]
    architecture: Option<Architecture>,
    /// Channels of the first stage [default: by the shape of conv1.weight].
    #[arg(long, value_name = "CHANNELS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    width: Option<u16>,
    /// First layers [default: imagenet for a 7×7 kernel, small for a 3×3 one; small-strided has to
    /// be said].
    #[arg(long, value_name = "NAME", value_parser = named::<Stem>(Stem::NAMES))]
    stem: Option<Stem>,
    #[command(flatten)]
    output: Output,
}

impl HvpArguments {
    /// The job that they describe, and how its result is printed.
    pub(super) fn job(self) -> (HvpJob, Format) {
        let Self { backbone, target, views, vector, out, objective, .. } = self;
        let job = HvpJob {
            backbone,
            target,
            views,
            vector,
            out,
            hints: NetworkHints {
                architecture: self.architecture,
                width: self.width.map(usize::from),
                stem: self.stem,
            },
            objective,
            temperature: self.temperature,
            curvature: self.curvature,
            precision: self.precision,
            backend: self.backend,
        };
        (job, self.output.format())
    }
}

/// The arguments of `spectrum` besides the settings.
#[derive(Clone, Debug, Args)]
pub(super) struct SpectrumArguments {
    /// Folder of a run or of one of its checkpoints.
    #[arg(long, value_name = "RUN")]
    pub(super) run: PathBuf,
    /// all: every checkpoint with a pretext network; last: the newest of them.
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = selection())]
    pub(super) checkpoints: CheckpointSelection,
    /// Eigenvalues at either end of the spectrum.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(super) eigenvalues: u16,
    /// Products for each checkpoint, at least twice --eigenvalues; as many vectors are kept.
    #[arg(long, value_name = "N", default_value = "40", value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(super) iterations: u16,
    /// The operator [default: that of the run's bilevel stage].
    #[arg(long, value_name = "NAME", value_parser = named::<Curvature>(Curvature::NAMES))]
    pub(super) curvature: Option<Curvature>,
    /// Draw the eigenvalues over the checkpoints.
    #[arg(long, value_name = "FILE.svg")]
    pub(super) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) settings: Settings,
}

fn selection() -> impl TypedValueParser<Value = CheckpointSelection> {
    PossibleValuesParser::new(["all", "last"]).map(|name| match name.as_str() {
        "last" => CheckpointSelection::Last,
        _ => CheckpointSelection::All,
    })
}
