//! Closed sets of names that settings choose from; those of a network or of data are with it.

use serde::{Deserialize, Serialize};

use crate::names::names;
use crate::network::Architecture;

names! {
    /// Where training images are cut, scaled and changed; what is done to them is drawn on the
    /// host.
    AugmentOn {
        /// On the host, ahead of the step.
        Host = "host",
        /// On the device that computes, to which images travel as bytes.
        Device = "device",
    }
}

/// Family of the backbone.
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
    /// The loss of images with any number of labels.
    MultiLabelLoss {
        /// Binary cross entropy of every class.
        Binary = "binary",
        /// Softmax cross entropy against all classes that an image shows, as in the reference.
        Softmax = "softmax",
    }
}

names! {
    /// How much training images of each class count in the loss of one label an image.
    ClassWeights {
        /// All alike.
        None = "none",
        /// As much as makes the classes count alike.
        Balanced = "balanced",
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
    EpochChoice {
        /// The epoch with the best metric on the validation images.
        Best = "best",
        /// The last epoch.
        Last = "last",
    }
}
