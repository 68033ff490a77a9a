//! The settings of a run, one struct for each section of the configuration.
//!
//! A new setting is a row here, and a check in `relations` if it depends on other settings.
//! [`Layers::resolve`](super::Layers::resolve) checks every range.

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
        backend: BackendName = BackendName::Flex, "backend that computes", Kind::Name(BackendName::NAMES),
            [flag("backend", "NAME", STAGES)];
        precision: Precision = Precision::F32,
            "precision of the operands of products on a device; sums stay f32",
            Kind::Name(Precision::NAMES), [flag("precision", "NAME", STAGES)];
        threads: usize = 0, "CPU threads; 0 = one per core", integer(0, 4096),
            [flag("threads", "N", STAGES)];
        tensorboard: bool = true,
            "also write the numbers of metrics.jsonl as a TensorBoard event file", Kind::Switch;
        [data]: DataSettings, "where the images come from";
        [image]: ImageSettings, "what the network sees";
        [window]: WindowSettings, "windows of a motion sensor, and their random changes";
        [network]: NetworkSettings, "backbone and projector";
        [pretext]: MethodSettings, "choice of L^P";
        [simclr]: SimclrSettings, "settings of SimCLR";
        [byol]: ByolSettings, "settings of BYOL";
        [vicreg]: VicregSettings, "settings of VICReg";
        [barlow_twins]: BarlowTwinsSettings, "settings of Barlow Twins";
        [pretrain]: PretrainSettings, "self-supervised pretraining";
        [warm_up]: WarmUpSettings,
            "training of the downstream head on the frozen backbone, before the bilevel stage";
        [align]: AlignSettings, "the bilevel stage";
        [finetune]: FinetuneSettings, "fine-tuning on the downstream task";
        [downstream]: TaskSettings, "the downstream task";
        [evaluate]: EvaluateSettings, "metric, linear probe and nearest neighbours";
        [checkpoint]: CheckpointSettings, "when checkpoints are written and how many are kept";
        [demo]: DemoSettings, "the paired comparison";
        [augment]: AugmentSettings, "random changes of the training images";
    }
}

/// Its own methods check and describe it.
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
        format: Format = Format::Auto, "format of the data; auto = recognised from the files",
            Kind::Name(Format::NAMES);
        on_bad_image: OnBadImage = OnBadImage::Skip,
            "unreadable images: stop at the first, skip, or skip and list in the run's folder",
            Kind::Name(OnBadImage::NAMES),
            [flag("on-bad-image", "NAME", PRETEXT).after("downstream")];
        bad_image_limit: f32 = 0.01,
            "largest share of unreadable images that may be skipped", SHARE;
        subjects: Vec<String> = Vec::new(), "window data only: subjects to use; [] = all", Kind::Texts;
        leave_out_subjects: Vec<String> = Vec::new(), "window data only: subjects to leave out", Kind::Texts;
    }
}

settings! {
    /// `[data.downstream]`.
    DownstreamSettings {
        path: String = "embedded:noto-emoji".to_owned(),
            "labelled images: one folder per class, or a data set", DATA,
            [flag("downstream", "DATA", LABELLED)];
        format: Format = Format::Auto, "format of the data; auto = recognised from the files",
            Kind::Name(Format::NAMES);
        #[serde(with = "optional")]
        labels_per_class: Option<usize> = None,
            "training images kept per class; \"none\" = all", integer_or_none(1, 1_000_000_000),
            [flag("labels-per-class", "N", LABELLED).after("on-bad-image")];
        validation_per_class: usize = 5, "validation images per class", COUNT;
        #[serde(with = "optional")]
        validation_share: Option<f64> = None,
            "share of each class's training images used for validation; \"none\" = validation_per_class",
            Kind::NumberOrNone(BELOW_1);
        test_share: f64 = 0.2,
            "share of each class to test on, where the set has no test part and labels_per_class is \"none\"",
            FRACTION;
        on_bad_image: OnBadImage = OnBadImage::Skip,
            "unreadable images: stop at the first, skip, or skip and list in the run's folder",
            Kind::Name(OnBadImage::NAMES), [flag("on-bad-image", "NAME", LABELLED)];
        bad_image_limit: f32 = 0.01,
            "largest share of unreadable images that may be skipped", SHARE;
        subjects: Vec<String> = Vec::new(), "window data only: subjects to use; [] = all", Kind::Texts;
        leave_out_subjects: Vec<String> = Vec::new(), "window data only: subjects to leave out", Kind::Texts;
        train_share: f64 = 0.5,
            "window data only: share of each recording, from its start, to train on; the rest is for testing",
            above_0(1.0);
    }
}

settings! {
    /// `[image]`.
    ImageSettings {
        size: usize = 32, "width and height of the network's input, pixels", integer(8, 512),
            [flag("image-size", "PIXELS", NETWORK)];
        pixels_max: u64 = 100_000_000, "maximum pixels of an image file; a larger file counts as unreadable",
            integer(1, 268_435_456);
        augment_on: AugmentOn = AugmentOn::Host,
            "where training images are cropped, scaled and changed: on the host, or on the computing device",
            Kind::Name(AugmentOn::NAMES), [flag("augment-on", "NAME", STAGES).after("precision")];
    }
}

settings! {
    for WindowSettings, "Two seconds at 50 samples a second." {
        length = 100, "samples per window", integer(1, 4096);
        hop = 50, "samples between the starts of two windows", integer(1, 4096);
        shift = 25,
            "maximum shift of a pretext view within its recording, samples in either direction",
            integer(0, 4096);
        labelled_shift = 25,
            "maximum shift of a labelled training window within its part of the recording",
            integer(0, 4096);
        rotation = 15.0, "maximum rotation of a pretext view about a random axis, degrees",
            from_0(180.0);
        accelerometer_gain = 0.2,
            "g: a pretext view's acceleration is multiplied by a factor in [1 - g, 1 + g]", FRACTION;
        gyroscope_gain = 0.2, "the same for its angular rate", FRACTION;
        noise = 0.1, "standard deviation of a pretext view's noise, in standard deviations of the channel",
            from_0(10.0);
        mask = 0.2, "largest share of a pretext view that is blanked", FRACTION;
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
            "backbone layers if architecture is \"layers\": for devices, without batch norm",
            Kind::Layers;
        projector: Vec<usize> = vec![256, 256, 256],
            "widths of the projector: hidden layers, then output", WIDTHS;
    }
}

settings! {
    /// `[pretext]`.
    MethodSettings {
        method: MethodName = MethodName::Simclr, "pretext loss; its section has its settings",
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
        decay: f32 = 0.9995, "weight of the old parameters in the target network's moving average", SHARE;
        predictor: Vec<usize> = vec![4096],
            "widths of the predictor's hidden layers; its output is as wide as the projector's",
            WIDTHS;
    }
}

settings! {
    /// `[vicreg]`.
    VicregSettings, "Bardes et al. (2022)." {
        invariance: f32 = 25.0, "weight of the distance between the views", WEIGHT;
        variance: f32 = 25.0, "weight of the hinges on standard deviations", WEIGHT;
        covariance: f32 = 1.0, "weight of the squared covariances", WEIGHT;
        deviation: f32 = 1.0, "gamma: target standard deviation of a feature", above_0(1e6);
        epsilon: f32 = 1e-4, "added to a variance before its square root", above_0(1.0);
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
        batch: usize = 256, "images per step, two views each", BATCH,
            [flag("batch", "IMAGES", FRESH)];
        learning_rate: f32 = 1.2, "peak rate", RATE, [flag("learning-rate", "X", FRESH)];
        warm_up_epochs: u32 = 10, "epochs of rising rate before the cosine schedule", integer(0, 100_000);
        floor: f32 = 0.001, "last rate as a fraction of the peak", SHARE;
        #[serde(with = "optional")]
        clip: Option<f32> = None, "maximum norm of the whole gradient", CLIP;
        optimizer: Optimizer = LARS, "sgd, lars or adamw with its coefficients", Kind::Optimizer;
        #[serde(with = "optional")]
        probe_every_epochs: Option<usize> = None,
            "epochs between evaluations on validation images by linear probe and nearest neighbours; \"none\" = never",
            integer_or_none(1, 100_000);
    }
}

settings! {
    /// `[warm_up]`: SGD at a constant rate.
    WarmUpSettings {
        epochs: u32 = 20, "passes over the labelled images, with the backbone frozen", EPOCHS;
        batch: usize = 128, "images per step", BATCH;
        learning_rate: f32 = 0.03, "constant rate of SGD", RATE;
        momentum: f32 = 0.9, "momentum of SGD", MOMENTUM;
        weight_decay: f32 = 0.001, "coupled weight decay", DECAY;
    }
}

settings! {
    /// `[align]`.
    AlignSettings {
        alternations: u32 = 500, "T: number of alternations, each of lower steps followed by upper steps", STEPS,
            [flag("alternations", "N", BILEVEL)];
        lower_steps: u32 = 20, "N_L: pretext steps per alternation", STEPS,
            [flag("lower-steps", "N", SOLVES)];
        upper_steps: u32 = 8, "N_U: downstream steps per alternation", STEPS,
            [flag("upper-steps", "N", SOLVES)];
        proximity: f32 = 0.001, "lambda: weight of the proximity term between the backbones", above_0(1e6),
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
            "also stop at |r| <= correction_tolerance |x - b|; 0 = never", FRACTION,
            [flag("correction-tolerance", "X", SOLVES)];
        iterations: u16 = 20, "N_c: maximum products per solve", integer(1, 10_000),
            [flag("iterations", "N", SOLVES)];
        recycle_capacity: u8 = 32,
            "directions that recycled-cg keeps, two vectors each; the oldest is dropped",
            integer(1, 255), [flag("recycle-capacity", "N", SOLVES)];
        verify_every: u8 = 16,
            "recycled-cg: a product verifies one of this many solves in a row, and the first \
             of an alternation after half as many; 1 = every solve",
            integer(1, 255), [flag("verify-every", "N", SOLVES)];
        nystrom_rank: u8 = 10, "k: number of sketches of nystrom", integer(1, 255);
        #[serde(with = "optional")]
        mfac_gradients: Option<usize> = None,
            "m: number of latest lower gradients that mfac keeps; \"none\" = align.lower_steps",
            integer_or_none(1, 255);
        soba_step: f32 = 0.5, "rho: step length of soba", above_0(1.0);
        curvature: Curvature = Curvature::Hessian, "operator in the linear system",
            Kind::Name(Curvature::NAMES), [flag("curvature", "NAME", SOLVES)];
        recompute: bool = false,
            "products recompute the first-order cotangents: slower, less memory",
            Kind::Switch, [flag("recompute", "BOOL", PRODUCTS)];
        statistics: StatisticsUpdates = StatisticsUpdates::LowerSteps,
            "passes that update the lower backbone's running statistics; the reference uses every-pass",
            Kind::Name(StatisticsUpdates::NAMES);
        batch: usize = 256, "pretext images per lower step", BATCH,
            [flag("batch", "IMAGES", LOWER).after("product-batch")];
        #[serde(with = "optional")]
        product_batch: Option<usize> = None,
            "pretext images of the products; \"none\" = align.batch", integer_or_none(2, 65_536),
            [flag("product-batch", "IMAGES", SOLVES), flag("batch", "IMAGES", &["spectrum"])];
        upper_batch: usize = 128, "labelled images per upper step", BATCH,
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
        warm_up_steps: u32 = 200, "steps of rising rate before the cosine schedule over all alternations", COUNT;
        floor: f32 = 0.001, "last rate as a fraction of the peak", SHARE;
        #[serde(with = "optional")]
        clip: Option<f32> = Some(10.0), "maximum norm of the whole gradient", CLIP;
        optimizer: Optimizer = LARS, "sgd, lars or adamw with its coefficients", Kind::Optimizer;
    }
}

settings! {
    /// `[finetune]`: SGD, cosine without warm-up.
    FinetuneSettings {
        epochs: u32 = 100, "passes over the labelled images", EPOCHS,
            [flag("epochs", "N", &["finetune"])];
        batch: usize = 128, "images per step", BATCH, [flag("batch", "IMAGES", &["finetune"])];
        learning_rate: f32 = 0.03, "peak rate of SGD, cosine without warm-up", RATE,
            [flag("learning-rate", "X", &["finetune"])];
        weight_decay: f32 = 0.001, "coupled weight decay", DECAY,
            [flag("weight-decay", "X", &["finetune"])];
        momentum: f32 = 0.9, "momentum of SGD", MOMENTUM;
        floor: f32 = 0.001, "last rate as a fraction of the peak", SHARE;
        choice: EpochChoice = EpochChoice::Best, "which epoch is the result: the best on validation images, or the last",
            Kind::Name(EpochChoice::NAMES);
    }
}

settings! {
    /// `[downstream]`.
    TaskSettings {
        multi_label_loss: MultiLabelLoss = MultiLabelLoss::Binary,
            "loss for images with several labels; the reference uses softmax",
            Kind::Name(MultiLabelLoss::NAMES);
        class_weights: ClassWeights = ClassWeights::None,
            "weights in the loss: equal for all images, or equal in total for all classes",
            Kind::Name(ClassWeights::NAMES);
    }
}

settings! {
    /// `[evaluate]`.
    EvaluateSettings {
        metric: Metric = Metric::Auto,
            "metric that chooses the epoch; auto = top-1, or map-11 for images with several labels",
            Kind::Name(Metric::NAMES);
        knn_neighbours: usize = 20, "k: number of nearest neighbours that vote", integer(1, 10_000),
            [flag("neighbours", "N", &["evaluate"])];
        probe_epochs: u32 = 100, "epochs of the linear probe on frozen features", EPOCHS,
            [flag("probe-epochs", "N", &["evaluate"])];
        probe_learning_rate: f32 = 0.1, "learning rate of the linear probe", RATE;
    }
}

settings! {
    /// `[checkpoint]`.
    CheckpointSettings {
        every_seconds: f64 = 60.0, "seconds between checkpoints", above_0(1e6);
        keep: usize = 2, "number of latest checkpoints kept, besides those of finished stages", integer(1, 10_000);
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
    /// Channels, height and width of the network's input.
    pub fn input(&self) -> [usize; 3] {
        if self.windows() {
            return [CHANNELS, 1, self.window.length];
        }
        [3, self.image.size, self.image.size]
    }

    /// Whether the data are windows of a motion sensor rather than images. Both data sets are
    /// alike.
    pub fn windows(&self) -> bool {
        self.data.pretext.format == Format::Windows
    }
}

impl AlignSettings {
    /// Number of pretext images per product.
    pub fn product_batch(&self) -> usize {
        self.product_batch.unwrap_or(self.batch)
    }
}
