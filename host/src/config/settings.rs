//! The settings of a run, one struct for each section of the configuration.
//!
//! Values built by [`Layers::resolve`](super::Layers::resolve) are in their ranges; those are listed
//! in [`KEYS`](super::KEYS).

use bissl_core::Optimizer;
use serde::{Deserialize, Serialize};

use super::optional;
use crate::data::{AugmentSettings, CHANNELS, Format, OnBadImage, WindowSettings};
use crate::kernels::Precision;
use crate::names::names;
use crate::network::LayerSpec;

/// Everything that a run depends on; stored as `config.toml` in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of every random stream of the run.
    pub seed: u64,
    /// The run or checkpoint that training starts from; `none` = from initial weights.
    pub from: String,
    /// What computes.
    pub backend: BackendName,
    /// What a device rounds the operands of products to.
    pub precision: Precision,
    /// Threads for data and arithmetic; 0 = one for each core.
    pub threads: usize,
    /// Whether metrics are written for TensorBoard, too.
    pub tensorboard: bool,
    /// Where the images come from.
    pub data: DataSettings,
    /// What the network sees.
    pub image: ImageSettings,
    /// Random changes of the training images.
    pub augment: AugmentSettings,
    /// Windows of a motion sensor, and random changes of them.
    pub window: WindowSettings,
    /// Backbone and projector.
    pub network: NetworkSettings,
    /// Which L^P.
    pub pretext: MethodSettings,
    /// What SimCLR needs.
    pub simclr: SimclrSettings,
    /// What BYOL needs.
    pub byol: ByolSettings,
    /// What VICReg needs.
    pub vicreg: VicregSettings,
    /// Self-supervised pretraining.
    pub pretrain: PretrainSettings,
    /// Training of the downstream head on the frozen backbone, before the bilevel stage.
    pub warm_up: WarmUpSettings,
    /// The bilevel stage.
    pub align: AlignSettings,
    /// Fine-tuning on the downstream task.
    pub finetune: FinetuneSettings,
    /// The downstream task.
    pub downstream: TaskSettings,
    /// Metric, linear probe and nearest neighbours.
    pub evaluate: EvaluateSettings,
    /// When checkpoints are written and how many stay.
    pub checkpoint: CheckpointSettings,
    /// The paired comparison.
    pub demo: DemoSettings,
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// D^P, unlabelled.
    pub pretext: PretextSettings,
    /// D^D, labelled.
    pub downstream: DownstreamSettings,
}

/// `[data.pretext]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretextSettings {
    /// A folder of images or a data set, `embedded:twemoji` or `embedded:noto-emoji`.
    pub path: String,
    /// What lies there.
    pub format: Format,
    /// What is done about unreadable images.
    pub on_bad_image: OnBadImage,
    /// Share of unreadable images that are left out, with a warning, before it is an error.
    pub bad_image_limit: f32,
    /// Of windows: only these subjects; empty: all.
    pub subjects: Vec<String>,
    /// Of windows: not these subjects.
    pub leave_out_subjects: Vec<String>,
}

/// `[data.downstream]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownstreamSettings {
    /// A folder with one folder of images a class or a data set, `embedded:twemoji` or
    /// `embedded:noto-emoji`.
    pub path: String,
    /// What lies there.
    pub format: Format,
    /// Training images kept of each class; `None` keeps all.
    #[serde(with = "optional")]
    pub labels_per_class: Option<usize>,
    /// Images of each class held out to choose the epoch of fine-tuning.
    pub validation_per_class: usize,
    /// The same as a share of the class's training images, in `[0, 1)`; `None` = as many as
    /// `validation_per_class` says.
    #[serde(with = "optional")]
    pub validation_share: Option<f64>,
    /// What is done about unreadable images.
    pub on_bad_image: OnBadImage,
    /// Share of unreadable images that are left out, with a warning, before it is an error.
    pub bad_image_limit: f32,
    /// Of windows: only these subjects; empty: all.
    pub subjects: Vec<String>,
    /// Of windows: not these subjects.
    pub leave_out_subjects: Vec<String>,
    /// Of windows: the share of each recording, from its beginning, that is for training and validation.
    pub train_share: f64,
}

/// `[image]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSettings {
    /// Side of the square that the network sees, pixels.
    pub size: usize,
    /// Most pixels of an image file; a larger one counts as broken.
    pub pixels_max: u64,
    /// Where training images become views.
    pub augment_on: AugmentOn,
}

/// `[network]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// Family of the backbone.
    pub architecture: Architecture,
    /// Channels of the first stage.
    pub width: usize,
    /// The layers before the first stage.
    pub stem: Stem,
    /// The backbone's layers where `architecture` is `layers`; not looked at otherwise.
    pub layers: Vec<LayerSpec>,
    /// Widths of the projector's layers: hidden ones, then the output. At least one.
    pub projector: Vec<usize>,
}

/// `[pretext]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSettings {
    /// The pretext method.
    pub method: MethodName,
}

/// `[simclr]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimclrSettings {
    /// τ of NT-Xent, dimensionless.
    pub temperature: f32,
}

/// `[byol]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByolSettings {
    /// Share of the old parameters in the target network's moving average.
    pub decay: f32,
    /// Widths of the predictor's hidden layers; its output is as wide as the projector's.
    pub predictor: Vec<usize>,
}

/// `[vicreg]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VicregSettings {
    /// Weight of the distance of the views.
    pub invariance: f32,
    /// Weight of the hinges on standard deviations.
    pub variance: f32,
    /// Weight of the squared covariances.
    pub covariance: f32,
    /// γ: standard deviation that a feature should have.
    pub deviation: f32,
    /// ε: added to a variance under its root.
    pub epsilon: f32,
}

/// `[pretrain]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSettings {
    /// Passes over D^P.
    pub epochs: u32,
    /// Images a step; each gives two views.
    pub batch: usize,
    /// Peak rate.
    pub learning_rate: f32,
    /// Epochs of rising rate, at most `epochs`.
    pub warm_up_epochs: u32,
    /// Last rate as a fraction of the peak.
    pub floor: f32,
    /// The recurrence.
    pub optimizer: Optimizer,
    /// Limit of the total gradient norm.
    #[serde(with = "optional")]
    pub clip: Option<f32>,
    /// Epochs between measures of the frozen backbone on labelled images; `None` = never.
    #[serde(with = "optional")]
    pub probe_every_epochs: Option<usize>,
}

/// `[warm_up]`: SGD at a constant rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUpSettings {
    /// Passes over D^D.
    pub epochs: u32,
    /// Images a step.
    pub batch: usize,
    /// The rate.
    pub learning_rate: f32,
    /// μ.
    pub momentum: f32,
    /// Coupled weight decay.
    pub weight_decay: f32,
}

/// `[align]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlignSettings {
    /// T.
    pub alternations: u32,
    /// N_L.
    pub lower_steps: u32,
    /// N_U.
    pub upper_steps: u32,
    /// λ.
    pub proximity: f32,
    /// δ.
    pub damping: f32,
    /// γ.
    pub direct_weight: f32,
    /// How `A x = g_P` is solved.
    pub solver: SolverName,
    /// Stop at ‖r‖ ≤ tolerance · ‖x‖.
    pub tolerance: f32,
    /// Stop, also, at ‖r‖ ≤ correction_tolerance · ‖x − b‖.
    pub correction_tolerance: f32,
    /// N_c, products a solve at most.
    pub iterations: u16,
    /// Directions that `recycled-cg` keeps.
    pub recycle_capacity: u8,
    /// Of how many extrapolated solves of `recycled-cg` one is verified.
    pub verify_every: u8,
    /// k of `nystrom`.
    pub nystrom_rank: u8,
    /// m of `mfac`; `None` = `lower_steps`.
    #[serde(with = "optional")]
    pub mfac_gradients: Option<usize>,
    /// ρ of `soba`.
    pub soba_step: f32,
    /// The operator in A.
    pub curvature: CurvatureName,
    /// Whether products compute the first-order cotangents anew instead of keeping them.
    pub recompute: bool,
    /// Which passes move θ_P's running statistics.
    pub statistics: StatisticsName,
    /// Pretext images of a lower step.
    pub batch: usize,
    /// Pretext images of the products; `None` = `batch`.
    #[serde(with = "optional")]
    pub product_batch: Option<usize>,
    /// Downstream images of an upper step.
    pub upper_batch: usize,
    /// Training of θ_P and φ_P.
    pub lower: LevelSettings,
    /// Training of θ_D and φ_D.
    pub upper: LevelSettings,
}

impl AlignSettings {
    /// Pretext images of the products.
    pub fn product_batch(&self) -> usize {
        self.product_batch.unwrap_or(self.batch)
    }
}

/// `[align.lower]` and `[align.upper]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelSettings {
    /// Peak rate.
    pub learning_rate: f32,
    /// Steps of rising rate, at most all of the level's.
    pub warm_up_steps: u32,
    /// Last rate as a fraction of the peak.
    pub floor: f32,
    /// Limit of the total gradient norm.
    #[serde(with = "optional")]
    pub clip: Option<f32>,
    /// The recurrence.
    pub optimizer: Optimizer,
}

/// `[finetune]`: SGD, cosine without warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneSettings {
    /// Passes over D^D.
    pub epochs: u32,
    /// Images a step.
    pub batch: usize,
    /// Peak rate.
    pub learning_rate: f32,
    /// Coupled weight decay.
    pub weight_decay: f32,
    /// μ.
    pub momentum: f32,
    /// Last rate as a fraction of the peak.
    pub floor: f32,
    /// Which epoch's weights are the result.
    pub choice: Choice,
}

/// `[downstream]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSettings {
    /// The loss of images with several labels, wherever the head is trained on them.
    pub multi_label_loss: MultiLabelLoss,
}

/// `[evaluate]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSettings {
    /// What chooses the epoch of fine-tuning, and what probe and neighbours are judged by.
    pub metric: Metric,
    /// k of the nearest-neighbour vote.
    pub knn_neighbours: usize,
    /// Epochs of the linear probe.
    pub probe_epochs: u32,
    /// Rate of the linear probe.
    pub probe_learning_rate: f32,
}

/// `[checkpoint]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Seconds between checkpoints, at least.
    pub every_seconds: f64,
    /// How many of a run's newest stay, besides the last of every finished stage.
    pub keep: usize,
}

/// `[demo]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoSettings {
    /// Paired repetitions, with seeds `seed`, `seed + 1`, ….
    pub seeds: u32,
}

impl RunConfig {
    /// Channels, height and width of what the network sees.
    pub fn input(&self) -> [usize; 3] {
        if self.windows() {
            return [CHANNELS, 1, self.window.length];
        }
        [3, self.image.size, self.image.size]
    }

    /// Whether the data are windows of a motion sensor, and not images: both sets are of one kind.
    pub fn windows(&self) -> bool {
        self.data.pretext.format == Format::Windows
    }
}

names! {
    /// What computes; a binary holds those that it was built with.
    BackendName {
        /// CPU, pure Rust.
        Flex = "flex",
        /// CPU, candle.
        Candle = "candle",
        /// NVIDIA GPU.
        Cuda = "cuda",
        /// GPU through Vulkan, Metal or DirectX 12.
        Wgpu = "wgpu",
        /// CPU, f64 oracle on small networks.
        Ndarray = "ndarray",
    }
}

impl BackendName {
    /// Whether it computes on a device with memory of its own.
    pub fn on_device(self) -> bool {
        match self {
            Self::Cuda | Self::Wgpu => true,
            Self::Flex | Self::Candle | Self::Ndarray => false,
        }
    }
}

names! {
    /// Where training images are cut, scaled and changed; what is done to them is drawn on the host.
    AugmentOn {
        /// On the host, ahead of the step.
        Host = "host",
        /// On the device that computes, to which images travel as bytes.
        Device = "device",
    }
}

names! {
    /// Family of the backbone.
    Architecture {
        /// Three stages of one basic block: for images of about 32 pixels.
        ResnetSmall = "resnet-small",
        /// He et al. (2016).
        Resnet18 = "resnet18",
        /// The same, deeper.
        Resnet34 = "resnet34",
        /// Of bottleneck blocks, strided in the 3×3 convolution.
        Resnet50 = "resnet50",
        /// The layers of `network.layers`, without batch norm: for devices.
        Layers = "layers",
    }
}

impl Architecture {
    /// Those that other programs' weights may be of.
    pub const RESIDUAL: &[&str] = Self::NAMES.split_at(4).0;
}

names! {
    /// The pretext method.
    MethodName {
        /// Contrastive (Chen et al. 2020).
        Simclr = "simclr",
        /// A target network to predict (Grill et al. 2020).
        Byol = "byol",
        /// Variance, invariance, covariance (Bardes et al. 2022).
        Vicreg = "vicreg",
    }
}

names! {
    /// The layers before the first stage.
    Stem {
        /// 3×3 convolution, stride 1.
        Small = "small",
        /// 3×3 convolution, stride 2.
        SmallStrided = "small-strided",
        /// 7×7 convolution, stride 2, then 3×3 max-pool, stride 2.
        Imagenet = "imagenet",
    }
}

names! {
    /// How the linear system of a hypergradient is solved.
    SolverName {
        /// Conjugate gradients that go on with the directions of earlier solves.
        RecycledCg = "recycled-cg",
        /// Conjugate gradients.
        Cg = "cg",
        /// The published code's variant with step lengths for each tensor; for reproduction.
        Layerwise = "layerwise",
        /// Truncated Neumann series.
        Neumann = "neumann",
        /// Nyström approximation of a Gauss-Newton operator.
        Nystrom = "nystrom",
        /// Low-rank inverse from the gradients of the lower steps; no products.
        Mfac = "mfac",
        /// One product a solve on a warm-started x.
        Soba = "soba",
        /// x = b.
        Identity = "identity",
    }
}

names! {
    /// Which passes through θ_P move its running statistics.
    StatisticsName {
        /// Those of lower steps.
        LowerSteps = "lower-steps",
        /// Those of products and of g_P, too, as in the reference.
        EveryPass = "every-pass",
    }
}

names! {
    /// The operator in the linear system.
    CurvatureName {
        /// The exact Hessian of L^P, possibly indefinite.
        Hessian = "hessian",
        /// Its Gauss-Newton part, positive semi-definite.
        GaussNewton = "gauss-newton",
    }
}

names! {
    /// The loss of images with any number of labels.
    MultiLabelLoss {
        /// Binary cross entropy of every class.
        Binary = "binary",
        /// Softmax cross entropy against all classes that an image shows, as in the reference.
        Softmax = "softmax",
    }
}

names! {
    /// What a classifier is judged by.
    Metric {
        /// `Top1`, or `Map11` where images have several labels.
        Auto = "auto",
        /// Share of images whose class has the largest score.
        Top1 = "top-1",
        /// Share of images whose class is among the five with the largest scores.
        Top5 = "top-5",
        /// Mean of the classes' own accuracies.
        MeanPerClass = "mean-per-class",
        /// Mean over the classes of the 11-point average precision of VOC 2007.
        Map11 = "map-11",
    }
}

names! {
    /// Which epoch's weights fine-tuning returns.
    Choice {
        /// The epoch with the best metric on the validation images.
        Best = "best",
        /// The last epoch.
        Last = "last",
    }
}
