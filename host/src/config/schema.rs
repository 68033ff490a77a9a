//! Every key of a configuration: its type, its range and what it means.

use super::settings::{
    Architecture, AugmentOn, BackendName, Choice, CurvatureName, MethodName, Metric,
    MultiLabelLoss, SolverName, StatisticsName, Stem,
};
use crate::data::{Format, OnBadImage};
use crate::kernels::Precision;
use crate::network::LayerSpec;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// With its sections: `align.damping`.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// One line for `config show`.
    pub help: &'static str,
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// An integer from `min` to `max`.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// As `Integer`, or `"none"`.
    IntegerOrNone {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number in an interval.
    Number(Interval),
    /// As `Number`, or `"none"`.
    NumberOrNone(Interval),
    /// `true` or `false`.
    Switch,
    /// One of some names.
    Name(&'static [&'static str]),
    /// A folder, or `"none"`.
    Folder,
    /// A folder of images, or one of the embedded data sets.
    Data(&'static [&'static str]),
    /// A list of 1 to 8 integers from `min` to `max`.
    Widths {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A list of texts.
    Texts,
    /// A list of 0 to 16 layers, each in words.
    Layers,
    /// `sgd`, `lars` or `adamw` with all its coefficients.
    Optimizer,
}

/// A range of numbers; NaN and infinity lie in none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Infimum.
    pub min: f64,
    /// Supremum.
    pub max: f64,
    /// Whether `min` itself is allowed.
    pub min_allowed: bool,
    /// Whether `max` itself is allowed.
    pub max_allowed: bool,
}

const fn positive(max: f64) -> Interval {
    Interval { min: 0.0, max, min_allowed: false, max_allowed: true }
}

const fn non_negative(max: f64) -> Interval {
    Interval { min: 0.0, max, min_allowed: true, max_allowed: true }
}

const FRACTION: Interval = Interval { min: 0.0, max: 1.0, min_allowed: true, max_allowed: false };
const RATE: Kind = Kind::Number(positive(1000.0));
const SHARE: Kind = Kind::Number(non_negative(1.0));
const DECAY: Kind = Kind::Number(non_negative(1.0));
const MOMENTUM: Kind = Kind::Number(FRACTION);
const CLIP: Kind = Kind::NumberOrNone(positive(1e6));
const EPOCHS: Kind = Kind::Integer { min: 1, max: 100_000 };
const STEPS: Kind = Kind::Integer { min: 1, max: 1_000_000 };
const COUNT: Kind = Kind::Integer { min: 0, max: 1_000_000_000 };
const BATCH: Kind = Kind::Integer { min: 2, max: 65_536 };

const WEIGHT: Kind = Kind::Number(non_negative(1e6));

const EMBEDDED: &[&str] = &["embedded:twemoji", "embedded:noto-emoji"];

const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, help }
}

/// Optimisers and their coefficients.
pub(super) const OPTIMIZERS: &[(&str, &[(&str, Kind)])] = &[
    ("sgd", &[("momentum", MOMENTUM), ("weight_decay", DECAY)]),
    (
        "lars",
        &[("momentum", MOMENTUM), ("weight_decay", DECAY), ("trust", Kind::Number(positive(1.0)))],
    ),
    (
        "adamw",
        &[
            ("beta1", MOMENTUM),
            ("beta2", MOMENTUM),
            ("epsilon", Kind::Number(positive(1.0))),
            ("weight_decay", DECAY),
        ],
    ),
];

/// Texts of a list at most.
pub(super) const TEXTS_MAX: usize = 256;
/// Layers of a backbone at most.
pub(super) const LAYERS_MAX: usize = 16;

/// The section that [`crate::data::AugmentSettings`] describes itself.
pub(super) const AUGMENT: &str = "augment";

/// Every key but those of `[augment]`, in the order in which they are written.
pub const KEYS: &[Key] = &[
    key("seed", Kind::Integer { min: 0, max: i64::MAX as u64 }, "seed of every random stream"),
    key("from", Kind::Folder, "run or checkpoint to start from; \"none\" = initial weights"),
    key("backend", Kind::Name(BackendName::NAMES), "what computes"),
    key(
        "precision",
        Kind::Name(Precision::NAMES),
        "what a device rounds the operands of products to; sums stay f32",
    ),
    key("threads", Kind::Integer { min: 0, max: 4096 }, "CPU threads; 0 = one for each core"),
    key(
        "tensorboard",
        Kind::Switch,
        "the numbers of metrics.jsonl as TensorBoard's event file, too",
    ),
    key(
        "data.pretext.path",
        Kind::Data(EMBEDDED),
        "unlabelled images, or a data set's training images",
    ),
    key(
        "data.pretext.format",
        Kind::Name(Format::NAMES),
        "what lies there; auto = told from the files",
    ),
    key(
        "data.pretext.on_bad_image",
        Kind::Name(OnBadImage::NAMES),
        "unreadable images: stop at the first, leave out, or leave out and list in the run's folder",
    ),
    key(
        "data.pretext.bad_image_limit",
        SHARE,
        "share of unreadable images left out before it is an error",
    ),
    key("data.pretext.subjects", Kind::Texts, "of windows: only these; [] = all"),
    key("data.pretext.leave_out_subjects", Kind::Texts, "of windows: not these"),
    key(
        "data.downstream.path",
        Kind::Data(EMBEDDED),
        "labelled images: one folder a class, or a data set",
    ),
    key(
        "data.downstream.format",
        Kind::Name(Format::NAMES),
        "what lies there; auto = told from the files",
    ),
    key(
        "data.downstream.labels_per_class",
        Kind::IntegerOrNone { min: 1, max: 1_000_000_000 },
        "training images kept of each class; \"none\" = all",
    ),
    key("data.downstream.validation_per_class", COUNT, "images of each class to choose the epoch"),
    key(
        "data.downstream.validation_share",
        Kind::NumberOrNone(FRACTION),
        "share of each class's training images to choose the epoch; \"none\" = validation_per_class",
    ),
    key(
        "data.downstream.on_bad_image",
        Kind::Name(OnBadImage::NAMES),
        "unreadable images: stop at the first, leave out, or leave out and list in the run's folder",
    ),
    key(
        "data.downstream.bad_image_limit",
        SHARE,
        "share of unreadable images left out before it is an error",
    ),
    key("data.downstream.subjects", Kind::Texts, "of windows: only these; [] = all"),
    key("data.downstream.leave_out_subjects", Kind::Texts, "of windows: not these"),
    key(
        "data.downstream.train_share",
        Kind::Number(positive(1.0)),
        "of windows: share of each recording, from its beginning, to train on; the rest tests",
    ),
    key("image.size", Kind::Integer { min: 8, max: 512 }, "side of the network's input, pixels"),
    key(
        "image.pixels_max",
        Kind::Integer { min: 1, max: 268_435_456 },
        "most pixels of an image file; a larger one counts as broken",
    ),
    key(
        "image.augment_on",
        Kind::Name(AugmentOn::NAMES),
        "where training images are cut, scaled and changed: host, or the device that computes",
    ),
    key("window.length", Kind::Integer { min: 1, max: 4096 }, "samples of a window"),
    key("window.hop", Kind::Integer { min: 1, max: 4096 }, "samples between windows' beginnings"),
    key(
        "window.shift",
        Kind::Integer { min: 0, max: 4096 },
        "most samples that a pretext view is shifted by, either way, within its recording",
    ),
    key(
        "window.labelled_shift",
        Kind::Integer { min: 0, max: 4096 },
        "the same of a labelled training window, within its part of the recording",
    ),
    key(
        "window.rotation",
        Kind::Number(non_negative(180.0)),
        "most degrees that a pretext view is turned by, about a random axis",
    ),
    key(
        "window.accelerometer_gain",
        Kind::Number(FRACTION),
        "g: a pretext view's acceleration is multiplied by a factor in [1 - g, 1 + g]",
    ),
    key("window.gyroscope_gain", Kind::Number(FRACTION), "the same of its angular rate"),
    key(
        "window.noise",
        Kind::Number(non_negative(10.0)),
        "deviation of a pretext view's noise, in deviations of the channel",
    ),
    key("window.mask", Kind::Number(FRACTION), "longest share of a pretext view that is blanked"),
    key("network.architecture", Kind::Name(Architecture::NAMES), "family of the backbone"),
    key("network.width", Kind::Integer { min: 1, max: 512 }, "channels of the first stage"),
    key(
        "network.stem",
        Kind::Name(Stem::NAMES),
        "3x3 stride 1, 3x3 stride 2, or 7x7 stride 2 with max-pool",
    ),
    key(
        "network.layers",
        Kind::Layers,
        "the backbone's layers where architecture is \"layers\": for devices, without batch norm",
    ),
    key(
        "network.projector",
        Kind::Widths { min: 2, max: 16_384 },
        "widths of the projector: hidden layers, then output",
    ),
    key(
        "pretext.method",
        Kind::Name(MethodName::NAMES),
        "pretext loss; its section holds the rest",
    ),
    key(
        "simclr.temperature",
        Kind::Number(Interval { min: 0.01, max: 10.0, min_allowed: true, max_allowed: true }),
        "temperature of NT-Xent",
    ),
    key("byol.decay", SHARE, "share of the old in the target network's moving average"),
    key(
        "byol.predictor",
        Kind::Widths { min: 2, max: 16_384 },
        "widths of the predictor's hidden layers; its output is as wide as the projector's",
    ),
    key("vicreg.invariance", WEIGHT, "weight of the distance of the views"),
    key("vicreg.variance", WEIGHT, "weight of the hinges on standard deviations"),
    key("vicreg.covariance", WEIGHT, "weight of the squared covariances"),
    key(
        "vicreg.deviation",
        Kind::Number(positive(1e6)),
        "gamma: standard deviation that a feature should have",
    ),
    key("vicreg.epsilon", Kind::Number(positive(1.0)), "added to a variance under its root"),
    key("pretrain.epochs", EPOCHS, "passes over the pretext images"),
    key("pretrain.batch", BATCH, "images a step, two views each"),
    key("pretrain.learning_rate", RATE, "peak rate"),
    key(
        "pretrain.warm_up_epochs",
        Kind::Integer { min: 0, max: 100_000 },
        "rising rate, then cosine",
    ),
    key("pretrain.floor", SHARE, "last rate as a fraction of the peak"),
    key("pretrain.clip", CLIP, "limit of the total gradient norm"),
    key("pretrain.optimizer", Kind::Optimizer, "sgd, lars or adamw with its coefficients"),
    key(
        "pretrain.probe_every_epochs",
        Kind::IntegerOrNone { min: 1, max: 100_000 },
        "epochs between linear probe and nearest neighbours on validation images; \"none\" = never",
    ),
    key("warm_up.epochs", EPOCHS, "head alone, backbone frozen: passes over the labelled images"),
    key("warm_up.batch", BATCH, "images a step"),
    key("warm_up.learning_rate", RATE, "constant rate of SGD"),
    key("warm_up.momentum", MOMENTUM, "momentum of SGD"),
    key("warm_up.weight_decay", DECAY, "coupled weight decay"),
    key("align.alternations", STEPS, "T: lower steps, then upper steps, this many times"),
    key("align.lower_steps", STEPS, "N_L: pretext steps an alternation"),
    key("align.upper_steps", STEPS, "N_U: downstream steps an alternation"),
    key(
        "align.proximity",
        Kind::Number(positive(1e6)),
        "lambda: weight of the pull between backbones",
    ),
    key(
        "align.damping",
        Kind::Number(non_negative(1e6)),
        "delta: added to lambda in the linear system",
    ),
    key(
        "align.direct_weight",
        Kind::Number(non_negative(1e6)),
        "gamma: weight of the direct gradient",
    ),
    key("align.solver", Kind::Name(SolverName::NAMES), "linear solver; identity is first order"),
    key("align.tolerance", Kind::Number(FRACTION), "stop at |r| <= tolerance |x|; 0 = never"),
    key(
        "align.correction_tolerance",
        Kind::Number(FRACTION),
        "stop, also, at |r| <= correction_tolerance |x - b|; 0 = never",
    ),
    key("align.iterations", Kind::Integer { min: 1, max: 10_000 }, "N_c: products a solve at most"),
    key(
        "align.recycle_capacity",
        Kind::Integer { min: 1, max: 255 },
        "directions that recycled-cg keeps, two vectors each; a full bank drops the oldest",
    ),
    key(
        "align.verify_every",
        Kind::Integer { min: 1, max: 255 },
        "recycled-cg: of so many solves in a row one is verified by a product, and an alternation's \
         first after half as many; 1 = every one",
    ),
    key("align.nystrom_rank", Kind::Integer { min: 1, max: 255 }, "k: sketches of nystrom"),
    key(
        "align.mfac_gradients",
        Kind::IntegerOrNone { min: 1, max: 255 },
        "m: last lower gradients that mfac keeps; \"none\" = align.lower_steps",
    ),
    key("align.soba_step", Kind::Number(positive(1.0)), "rho: step length of soba"),
    key("align.curvature", Kind::Name(CurvatureName::NAMES), "operator in the linear system"),
    key(
        "align.recompute",
        Kind::Switch,
        "products compute the first-order cotangents anew: slower, in less memory",
    ),
    key(
        "align.statistics",
        Kind::Name(StatisticsName::NAMES),
        "passes that move the running statistics of the lower backbone; every-pass is the reference's way",
    ),
    key("align.batch", BATCH, "pretext images of a lower step"),
    key(
        "align.product_batch",
        Kind::IntegerOrNone { min: 2, max: 65_536 },
        "pretext images of the products; \"none\" = align.batch",
    ),
    key("align.upper_batch", BATCH, "labelled images of an upper step"),
    key("align.lower.learning_rate", RATE, "peak rate"),
    key("align.lower.warm_up_steps", COUNT, "rising rate, then cosine over all alternations"),
    key("align.lower.floor", SHARE, "last rate as a fraction of the peak"),
    key("align.lower.clip", CLIP, "limit of the total gradient norm"),
    key("align.lower.optimizer", Kind::Optimizer, "sgd, lars or adamw with its coefficients"),
    key("align.upper.learning_rate", RATE, "peak rate"),
    key("align.upper.warm_up_steps", COUNT, "rising rate, then cosine over all alternations"),
    key("align.upper.floor", SHARE, "last rate as a fraction of the peak"),
    key("align.upper.clip", CLIP, "limit of the total gradient norm"),
    key("align.upper.optimizer", Kind::Optimizer, "sgd, lars or adamw with its coefficients"),
    key("finetune.epochs", EPOCHS, "passes over the labelled images"),
    key("finetune.batch", BATCH, "images a step"),
    key("finetune.learning_rate", RATE, "peak rate of SGD, cosine without warm-up"),
    key("finetune.weight_decay", DECAY, "coupled weight decay"),
    key("finetune.momentum", MOMENTUM, "momentum of SGD"),
    key("finetune.floor", SHARE, "last rate as a fraction of the peak"),
    key(
        "finetune.choice",
        Kind::Name(Choice::NAMES),
        "which epoch is the result: best on validation",
    ),
    key(
        "downstream.multi_label_loss",
        Kind::Name(MultiLabelLoss::NAMES),
        "loss of images with several labels; softmax is the reference's",
    ),
    key(
        "evaluate.metric",
        Kind::Name(Metric::NAMES),
        "what chooses the epoch; auto = top-1, or map-11 of images with several labels",
    ),
    key("evaluate.knn_neighbours", Kind::Integer { min: 1, max: 10_000 }, "k of the vote"),
    key("evaluate.probe_epochs", EPOCHS, "linear probe on frozen features"),
    key("evaluate.probe_learning_rate", RATE, "rate of the linear probe"),
    key("checkpoint.every_seconds", Kind::Number(positive(1e6)), "seconds between checkpoints"),
    key(
        "checkpoint.keep",
        Kind::Integer { min: 1, max: 10_000 },
        "newest that stay, besides finished stages",
    ),
    key("demo.seeds", Kind::Integer { min: 1, max: 1000 }, "paired repetitions of the comparison"),
];

impl Key {
    /// The key of that name.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// Whether its values are written as strings, so that a flag needs no quotes.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Data(_) | Self::Folder)
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = if self.min_allowed { '[' } else { '(' };
        let close = if self.max_allowed { ']' } else { ')' };
        write!(f, "{open}{}, {}{close}", self.min, self.max)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "an integer in [{min}, {max}]"),
            Self::IntegerOrNone { min, max } => {
                write!(f, "an integer in [{min}, {max}] or \"none\"")
            }
            Self::Number(interval) => write!(f, "a number in {interval}"),
            Self::NumberOrNone(interval) => write!(f, "a number in {interval} or \"none\""),
            Self::Switch => write!(f, "true or false"),
            Self::Name(names) => write!(f, "one of \"{}\"", names.join("\", \"")),
            Self::Folder => write!(f, "a folder or \"none\""),
            Self::Data(names) => write!(f, "a folder or \"{}\"", names.join("\", \"")),
            Self::Widths { min, max } => write!(f, "a list of 1 to 8 integers in [{min}, {max}]"),
            Self::Texts => write!(f, "a list of at most {TEXTS_MAX} texts, none of them empty"),
            Self::Layers => write!(f, "a list of 0 to {LAYERS_MAX} of {}", LayerSpec::EXPECTED),
            Self::Optimizer => {
                let names: Vec<_> = OPTIMIZERS.iter().map(|(name, _)| *name).collect();
                write!(f, "a table with one of {}", names.join(", "))
            }
        }
    }
}
