//! Closed sets of names for settings. The names of networks and data are defined with them.

use serde::{Deserialize, Serialize};

use crate::names::names;
use crate::network::Architecture;

names! {
    /// Where training images are cropped, scaled and changed. The random changes are drawn on the
    /// host in either case.
    AugmentOn {
        /// On the host, ahead of the step.
        Host = "host",
        /// On the computing device, which receives the images as bytes.
        Device = "device",
    }
}

/// Architecture family of the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// The layers of `network.layers`, without batch norm: for devices.
    #[serde(rename = "layers")]
    Layers,
    /// He et al. (2016).
    #[serde(untagged)]
    Residual(Architecture),
}

impl Family {
    /// Every spelling, in files and flags.
    pub const NAMES: &[&str] = &{
        let mut names = ["layers"; Architecture::NAMES.len() + 1];
        let (residual, _) = names.split_at_mut(Architecture::NAMES.len());
        residual.copy_from_slice(Architecture::NAMES);
        names
    };
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Layers => f.write_str("layers"),
            Self::Residual(architecture) => architecture.fmt(f),
        }
    }
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
        /// Correlation between the views alone (Zbontar et al. 2021).
        BarlowTwins = "barlow-twins",
    }
}

names! {
    /// How the linear system of a hypergradient is solved.
    SolverName {
        /// Conjugate gradients that reuse the directions of earlier solves.
        RecycledCg = "recycled-cg",
        /// Conjugate gradients.
        Cg = "cg",
        /// The published code's variant with a step length per tensor; for reproduction.
        Layerwise = "layerwise",
        /// Truncated Neumann series.
        Neumann = "neumann",
        /// Nyström approximation of a Gauss-Newton operator.
        Nystrom = "nystrom",
        /// Low-rank inverse from the gradients of the lower steps, without products.
        Mfac = "mfac",
        /// One product per solve on a warm-started x.
        Soba = "soba",
        /// x = b.
        Identity = "identity",
    }
}

names! {
    /// The loss for images with any number of labels.
    MultiLabelLoss {
        /// Binary cross entropy of every class.
        Binary = "binary",
        /// Softmax cross entropy against all classes that an image shows, as in the reference.
        Softmax = "softmax",
    }
}

names! {
    /// Weights of the classes in the loss for images with one label.
    ClassWeights {
        /// The same weight for every image.
        None = "none",
        /// Weights that give all classes the same influence.
        Balanced = "balanced",
    }
}

names! {
    /// The metric of a classifier.
    Metric {
        /// `Top1`, or `Map11` for images with several labels.
        Auto = "auto",
        /// Share of images whose own class has the largest score.
        Top1 = "top-1",
        /// Share of images whose own class is among the five largest scores.
        Top5 = "top-5",
        /// Mean of the per-class accuracies.
        MeanPerClass = "mean-per-class",
        /// Mean over the classes of the 11-point average precision of VOC 2007.
        Map11 = "map-11",
    }
}

names! {
    /// Which epoch's weights fine-tuning returns.
    EpochChoice {
        /// The epoch with the best metric on the validation images.
        Best = "best",
        /// The last epoch.
        Last = "last",
    }
}
