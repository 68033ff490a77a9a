//! The settings of a run, one struct for each section of the configuration.
//!
//! A new setting is a row here, and a check in `relations` where it depends on others. Values built
//! by [`Layers::resolve`](super::Layers::resolve) are in their ranges.

use bissl_core::Optimizer;
use serde::{Deserialize, Serialize};

use super::flags::{
    BILEVEL, FRESH, LABELLED, LOWER, NETWORK, PRETEXT, PRODUCTS, SOLVES, STAGES, STARTED, UPPER,
    flag,
};
use super::keys::{Row, Section, Table, settings};
use super::kind::{
    BATCH, BELOW_1, CLIP, COUNT, DATA, DECAY, EPOCHS, FRACTION, Interval, Kind, MOMENTUM, RATE,
    SHARE, STEPS, WEIGHT, WIDTHS, above_0, from_0, integer, integer_or_none,
};
use super::names::{
    AugmentOn, ClassWeights, EpochChoice, Family, MethodName, Metric, MultiLabelLoss, SolverName,
};
use super::optional;
use crate::data::{AugmentSettings, CHANNELS, Format, OnBadImage, WindowSettings};
use crate::kernels::{BackendName, Precision};
use crate::network::{Architecture, Curvature, LayerSpec, StatisticsUpdates, Stem};

settings! {
    /// Everything that a run depends on; stored as `config.toml` in its folder.
    RunConfig, "General recommendation for photographs or pictures of 32 to 96 pixels." {
        seed: u64 = 0, "seed of every random stream", integer(0, i64::MAX as u64),
            [flag("seed", "N", STAGES)];
        from: String = "none".to_owned(),
            "run or checkpoint to start from; \"none\" = initial weights", Kind::Folder,
            [flag("from", "RUN", STARTED).after("threads")];
        backend: BackendName = BackendName::Flex, "what computes", Kind::Name(BackendName::NAMES),
            [flag("backend", "NAME", STAGES)];
        precision: Precision = Precision::F32,
            "what a device rounds the operands of products to; sums stay f32",
            Kind::Name(Precision::NAMES), [flag("precision", "NAME", STAGES)];
        threads: usize = 0, "CPU threads; 0 = one for each core", integer(0, 4096),
            [flag("threads", "N", STAGES)];
        tensorboard: bool = true,
            "the numbers of metrics.jsonl as TensorBoard's event file, too", Kind::Switch;
        [data]: DataSettings, "where the images come from";
        [image]: ImageSettings, "what the network sees";
        [window]: WindowSettings, "windows of a motion sensor, and random changes of them";
        [network]: NetworkSettings, "backbone and projector";
        [pretext]: MethodSettings, "which L^P";
        [simclr]: SimclrSettings, "what SimCLR needs";
        [byol]: ByolSettings, "what BYOL needs";
        [vicreg]: VicregSettings, "what VICReg needs";
        [barlow_twins]: BarlowTwinsSettings, "what Barlow Twins needs";
        [pretrain]: PretrainSettings, "self-supervised pretraining";
        [warm_up]: WarmUpSettings,
            "training of the downstream head on the frozen backbone, before the bilevel stage";
        [align]: AlignSettings, "the bilevel stage";
        [finetune]: FinetuneSettings, "fine-tuning on the downstream task";
        [downstream]: TaskSettings, "the downstream task";
        [evaluate]: EvaluateSettings, "metric, linear probe and nearest neighbours";
        [checkpoint]: CheckpointSettings, "when checkpoints are written and how many stay";
        [demo]: DemoSettings, "the paired comparison";
        [augment]: AugmentSettings, "random changes of the training images";
    }
}

/// It checks and describes itself.
impl Section for AugmentSettings {
    const TABLE: Table = Table { note: "", rows: &[], sections: &[] };
}

settings! {
    /// `[data]`.
    DataSettings {
        [pretext]: PretextSettings, "D^P, unlabelled";
        [downstream]: DownstreamSettings, "D^D, labelled";
    }
}

settings! {
    /// `[data.pretext]`.
    PretextSettings {
        path: String = "embedded:twemoji".to_owned(),
            "unlabelled images, or a data set's training images", DATA,
            [flag("pretext", "DATA", PRETEXT)];
        format: Format = Format::Auto, "what lies there; auto = told from the files",
            Kind::Name(Format::NAMES);
        on_bad_image: OnBadImage = OnBadImage::Skip,
            "unreadable images: stop at the first, leave out, or leave out and list in the run's folder",
            Kind::Name(OnBadImage::NAMES),
            [flag("on-bad-image", "NAME", PRETEXT).after("downstream")];
        bad_image_limit: f32 = 0.01,
            "share of unreadable images left out before it is an error", SHARE;
        subjects: Vec<String> = Vec::new(), "of windows: only these; [] = all", Kind::Texts;
        leave_out_subjects: Vec<String> = Vec::new(), "of windows: not these", Kind::Texts;
    }
}

settings! {
    /// `[data.downstream]`.
    DownstreamSettings {
        path: String = "embedded:noto-emoji".to_owned(),
            "labelled images: one folder a class, or a data set", DATA,
            [flag("downstream", "DATA", LABELLED)];
        format: Format = Format::Auto, "what lies there; auto = told from the files",
            Kind::Name(Format::NAMES);
        #[serde(with = "optional")]
        labels_per_class: Option<usize> = None,
            "training images kept of each class; \"none\" = all", integer_or_none(1, 1_000_000_000),
            [flag("labels-per-class", "N", LABELLED).after("on-bad-image")];
        validation_per_class: usize = 5, "images of each class to choose the epoch", COUNT;
        #[serde(with = "optional")]
        validation_share: Option<f64> = None,
            "share of each class's training images to choose the epoch; \"none\" = validation_per_class",
            Kind::NumberOrNone(BELOW_1);
        test_share: f64 = 0.2,
            "share of each class to test on, where the set has no test part and labels_per_class is \"none\"",
            FRACTION;
        on_bad_image: OnBadImage = OnBadImage::Skip,
            "unreadable images: stop at the first, leave out, or leave out and list in the run's folder",
            Kind::Name(OnBadImage::NAMES), [flag("on-bad-image", "NAME", LABELLED)];
        bad_image_limit: f32 = 0.01,
            "share of unreadable images left out before it is an error", SHARE;
        subjects: Vec<String> = Vec::new(), "of windows: only these; [] = all", Kind::Texts;
        leave_out_subjects: Vec<String> = Vec::new(), "of windows: not these", Kind::Texts;
        train_share: f64 = 0.5,
            "of windows: share of each recording, from its beginning, to train on; the rest tests",
            above_0(1.0);
    }
}

settings! {
    /// `[image]`.
    ImageSettings {
        size: usize = 32, "side of the network's input, pixels", integer(8, 512),
            [flag("image-size", "PIXELS", NETWORK)];
        pixels_max: u64 = 100_000_000, "most pixels of an image file; a larger one counts as broken",
            integer(1, 268_435_456);
        augment_on: AugmentOn = AugmentOn::Host,
            "where training images are cut, scaled and changed: host, or the device that computes",
            Kind::Name(AugmentOn::NAMES), [flag("augment-on", "NAME", STAGES).after("precision")];
    }
}

settings! {
    for WindowSettings, "Two seconds at 50 samples a second." {
        length = 100, "samples of a window", integer(1, 4096);
        hop = 50, "samples between windows' beginnings", integer(1, 4096);
        shift = 25,
            "most samples that a pretext view is shifted by, either way, within its recording",
            integer(0, 4096);
        labelled_shift = 25,
            "the same of a labelled training window, within its part of the recording",
            integer(0, 4096);
        rotation = 15.0, "most degrees that a pretext view is turned by, about a random axis",
            from_0(180.0);
        accelerometer_gain = 0.2,
            "g: a pretext view's acceleration is multiplied by a factor in [1 - g, 1 + g]", FRACTION;
        gyroscope_gain = 0.2, "the same of its angular rate", FRACTION;
        noise = 0.1, "deviation of a pretext view's noise, in deviations of the channel",
            from_0(10.0);
        mask = 0.2, "longest share of a pretext view that is blanked", FRACTION;
    }
}

settings! {
    /// `[network]`.
    NetworkSettings {
        architecture: Family = Family::Residual(Architecture::ResNet18), "family of the backbone",
            Kind::Name(Family::NAMES), [flag("architecture", "NAME", NETWORK)];
        width: usize = 64, "channels of the first stage", integer(1, 512),
            [flag("width", "CHANNELS", NETWORK)];
        stem: Stem = Stem::Small, "3x3 stride 1, 3x3 stride 2, or 7x7 stride 2 with max-pool",
            Kind::Name(Stem::NAMES), [flag("stem", "NAME", NETWORK)];
        layers: Vec<LayerSpec> = Vec::new(),
            "the backbone's layers where architecture is \"layers\": for devices, without batch norm",
            Kind::Layers;
        projector: Vec<usize> = vec![256, 256, 256],
            "widths of the projector: hidden layers, then output", WIDTHS;
    }
}

settings! {
    /// `[pretext]`.
    MethodSettings {
        method: MethodName = MethodName::Simclr, "pretext loss; its section holds the rest",
            Kind::Name(MethodName::NAMES), [flag("method", "NAME", NETWORK)];
    }
}

settings! {
    /// `[simclr]`.
    SimclrSettings {
        temperature: f32 = 0.5, "temperature of NT-Xent",
            Kind::Number(Interval { min: 0.01, max: 10.0, min_allowed: true, max_allowed: true }),
            [flag("temperature", "X", FRESH)];
    }
}

settings! {
    /// `[byol]`.
    ByolSettings, "Grill et al. (2020); the decay is the BiSSL paper's." {
        decay: f32 = 0.9995, "share of the old in the target network's moving average", SHARE;
        predictor: Vec<usize> = vec![4096],
            "widths of the predictor's hidden layers; its output is as wide as the projector's",
            WIDTHS;
    }
}

settings! {
    /// `[vicreg]`.
    VicregSettings, "Bardes et al. (2022)." {
        invariance: f32 = 25.0, "weight of the distance of the views", WEIGHT;
        variance: f32 = 25.0, "weight of the hinges on standard deviations", WEIGHT;
        covariance: f32 = 1.0, "weight of the squared covariances", WEIGHT;
        deviation: f32 = 1.0, "gamma: standard deviation that a feature should have", above_0(1e6);
        epsilon: f32 = 1e-4, "added to a variance under its root", above_0(1.0);
    }
}

settings! {
    /// `[barlow_twins]`.
    BarlowTwinsSettings, "Zbontar et al. (2021)." {
        off_diagonal: f32 = 5e-3, "weight of the squared correlations between features", WEIGHT;
    }
}

const LARS: Optimizer = Optimizer::Lars { momentum: 0.9, weight_decay: 1e-6, trust: 0.001 };

settings! {
    /// `[pretrain]`.
    PretrainSettings, "The paper's rate of 4.8 at batch 1024, scaled linearly." {
        epochs: u32 = 200, "passes over the pretext images", EPOCHS, [flag("epochs", "N", FRESH)];
        batch: usize = 256, "images a step, two views each", BATCH,
            [flag("batch", "IMAGES", FRESH)];
        learning_rate: f32 = 1.2, "peak rate", RATE, [flag("learning-rate", "X", FRESH)];
        warm_up_epochs: u32 = 10, "rising rate, then cosine", integer(0, 100_000);
        floor: f32 = 0.001, "last rate as a fraction of the peak", SHARE;
        #[serde(with = "optional")]
        clip: Option<f32> = None, "limit of the total gradient norm", CLIP;
        optimizer: Optimizer = LARS, "sgd, lars or adamw with its coefficients", Kind::Optimizer;
        #[serde(with = "optional")]
        probe_every_epochs: Option<usize> = None,
            "epochs between linear probe and nearest neighbours on validation images; \"none\" = never",
            integer_or_none(1, 100_000);
    }
}

settings! {
    /// `[warm_up]`: SGD at a constant rate.
    WarmUpSettings {
        epochs: u32 = 20, "head alone, backbone frozen: passes over the labelled images", EPOCHS;
        batch: usize = 128, "images a step", BATCH;
        learning_rate: f32 = 0.03, "constant rate of SGD", RATE;
        momentum: f32 = 0.9, "momentum of SGD", MOMENTUM;
        weight_decay: f32 = 0.001, "coupled weight decay", DECAY;
    }
}

settings! {
    /// `[align]`.
    AlignSettings {
        alternations: u32 = 500, "T: lower steps, then upper steps, this many times", STEPS,
            [flag("alternations", "N", BILEVEL)];
        lower_steps: u32 = 20, "N_L: pretext steps an alternation", STEPS,
            [flag("lower-steps", "N", SOLVES)];
        upper_steps: u32 = 8, "N_U: downstream steps an alternation", STEPS,
            [flag("upper-steps", "N", SOLVES)];
        proximity: f32 = 0.001, "lambda: weight of the pull between backbones", above_0(1e6),
            [flag("proximity", "X", SOLVES)];
        damping: f32 = 10.0, "delta: added to lambda in the linear system", WEIGHT,
            [flag("damping", "X", SOLVES)];
        direct_weight: f32 = 1.0, "gamma: weight of the direct gradient", WEIGHT,
            [flag("direct-weight", "X", SOLVES)];
        solver: SolverName = SolverName::RecycledCg, "linear solver; identity is first order",
            Kind::Name(SolverName::NAMES), [flag("solver", "NAME", SOLVES)];
        tolerance: f32 = 0.0001, "stop at |r| <= tolerance |x|; 0 = never", FRACTION,
            [flag("tolerance", "X", SOLVES)];
        correction_tolerance: f32 = 0.1,
            "stop, also, at |r| <= correction_tolerance |x - b|; 0 = never", FRACTION,
            [flag("correction-tolerance", "X", SOLVES)];
        iterations: u16 = 20, "N_c: products a solve at most", integer(1, 10_000),
            [flag("iterations", "N", SOLVES)];
        recycle_capacity: u8 = 32,
            "directions that recycled-cg keeps, two vectors each; a full bank drops the oldest",
            integer(1, 255), [flag("recycle-capacity", "N", SOLVES)];
        verify_every: u8 = 16,
            "recycled-cg: of so many solves in a row one is verified by a product, and an \
             alternation's first after half as many; 1 = every one",
            integer(1, 255), [flag("verify-every", "N", SOLVES)];
        nystrom_rank: u8 = 10, "k: sketches of nystrom", integer(1, 255);
        #[serde(with = "optional")]
        mfac_gradients: Option<usize> = None,
            "m: last lower gradients that mfac keeps; \"none\" = align.lower_steps",
            integer_or_none(1, 255);
        soba_step: f32 = 0.5, "rho: step length of soba", above_0(1.0);
        curvature: Curvature = Curvature::Hessian, "operator in the linear system",
            Kind::Name(Curvature::NAMES), [flag("curvature", "NAME", SOLVES)];
        recompute: bool = false,
            "products compute the first-order cotangents anew: slower, in less memory",
            Kind::Switch, [flag("recompute", "BOOL", PRODUCTS)];
        statistics: StatisticsUpdates = StatisticsUpdates::LowerSteps,
            "passes that move the running statistics of the lower backbone; every-pass is the reference's way",
            Kind::Name(StatisticsUpdates::NAMES);
        batch: usize = 256, "pretext images of a lower step", BATCH,
            [flag("batch", "IMAGES", LOWER).after("product-batch")];
        #[serde(with = "optional")]
        product_batch: Option<usize> = None,
            "pretext images of the products; \"none\" = align.batch", integer_or_none(2, 65_536),
            [flag("product-batch", "IMAGES", SOLVES), flag("batch", "IMAGES", &["spectrum"])];
        upper_batch: usize = 128, "labelled images of an upper step", BATCH,
            [flag("upper-batch", "IMAGES", UPPER)];
        [lower]: LevelSettings, "training of θ_P and φ_P";
        [upper]: LevelSettings = LevelSettings {
            learning_rate: 0.03,
            warm_up_steps: 0,
            optimizer: Optimizer::Sgd { momentum: 0.9, weight_decay: 0.001 },
            ..LevelSettings::default()
        }, "training of θ_D and φ_D";
    }
}

settings! {
    /// `[align.lower]` and `[align.upper]`.
    LevelSettings {
        learning_rate: f32 = 1.0, "peak rate", RATE;
        warm_up_steps: u32 = 200, "rising rate, then cosine over all alternations", COUNT;
        floor: f32 = 0.001, "last rate as a fraction of the peak", SHARE;
        #[serde(with = "optional")]
        clip: Option<f32> = Some(10.0), "limit of the total gradient norm", CLIP;
        optimizer: Optimizer = LARS, "sgd, lars or adamw with its coefficients", Kind::Optimizer;
    }
}

settings! {
    /// `[finetune]`: SGD, cosine without warm-up.
    FinetuneSettings {
        epochs: u32 = 100, "passes over the labelled images", EPOCHS,
            [flag("epochs", "N", &["finetune"])];
        batch: usize = 128, "images a step", BATCH, [flag("batch", "IMAGES", &["finetune"])];
        learning_rate: f32 = 0.03, "peak rate of SGD, cosine without warm-up", RATE,
            [flag("learning-rate", "X", &["finetune"])];
        weight_decay: f32 = 0.001, "coupled weight decay", DECAY,
            [flag("weight-decay", "X", &["finetune"])];
        momentum: f32 = 0.9, "momentum of SGD", MOMENTUM;
        floor: f32 = 0.001, "last rate as a fraction of the peak", SHARE;
        choice: EpochChoice = EpochChoice::Best, "which epoch is the result: best on validation",
            Kind::Name(EpochChoice::NAMES);
    }
}

settings! {
    /// `[downstream]`.
    TaskSettings {
        multi_label_loss: MultiLabelLoss = MultiLabelLoss::Binary,
            "loss of images with several labels; softmax is the reference's",
            Kind::Name(MultiLabelLoss::NAMES);
        class_weights: ClassWeights = ClassWeights::None,
            "how training images count in the loss: all alike, or all classes alike",
            Kind::Name(ClassWeights::NAMES);
    }
}

settings! {
    /// `[evaluate]`.
    EvaluateSettings {
        metric: Metric = Metric::Auto,
            "what chooses the epoch; auto = top-1, or map-11 of images with several labels",
            Kind::Name(Metric::NAMES);
        knn_neighbours: usize = 20, "k of the vote", integer(1, 10_000),
            [flag("neighbours", "N", &["evaluate"])];
        probe_epochs: u32 = 100, "linear probe on frozen features", EPOCHS,
            [flag("probe-epochs", "N", &["evaluate"])];
        probe_learning_rate: f32 = 0.1, "rate of the linear probe", RATE;
    }
}

settings! {
    /// `[checkpoint]`.
    CheckpointSettings {
        every_seconds: f64 = 60.0, "seconds between checkpoints", above_0(1e6);
        keep: usize = 2, "newest that stay, besides finished stages", integer(1, 10_000);
    }
}

settings! {
    /// `[demo]`.
    DemoSettings {
        seeds: u32 = 3, "paired repetitions of the comparison", integer(1, 1000),
            [flag("seeds", "N", &["demo"])];
    }
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

impl AlignSettings {
    /// Pretext images of the products.
    pub fn product_batch(&self) -> usize {
        self.product_batch.unwrap_or(self.batch)
    }
}
