//! Closed sets of names that settings choose from; those of a network or of data are with it.

use crate::names::names;

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
