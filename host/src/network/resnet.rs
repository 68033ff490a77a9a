//! Residual networks (He et al. 2016) with torchvision's names.

use super::block::Block;
use super::{Builder, Network, Shape};
use crate::names::names;

/// Why the networks of this file always build.
pub(super) const FITS: &str = "widths are at least 1, and the layers fit each other";

names! {
    /// The residual network.
    Architecture {
        /// Three stages of one basic block with widths w, 2w, 4w: for images of 32 pixels and small
        /// machines.
        ResNetSmall = "resnet-small",
        /// Four stages of two basic blocks with widths w, 2w, 4w, 8w; w = 64 is ResNet-18.
        ResNet18 = "resnet18",
        /// Four stages of 3, 4, 6 and 3 basic blocks with the same widths; w = 64 is ResNet-34.
        ResNet34 = "resnet34",
        /// Four stages of 3, 4, 6 and 3 bottleneck blocks, strided in the 3×3 convolution, with
        /// widths 4w, 8w, 16w, 32w; w = 64 is ResNet-50.
        ResNet50 = "resnet50",
    }
}

names! {
    /// The layers before the first stage.
    Stem {
        /// 3×3 convolution, stride 1: for small images.
        Small = "small",
        /// 3×3 convolution, stride 2: for small images and small machines.
        SmallStrided = "small-strided",
        /// 7×7 convolution, stride 2, then 3×3 max-pool, stride 2: for ImageNet.
        ImageNet = "imagenet",
    }
}

/// A backbone's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackboneSettings {
    /// Stages and blocks.
    pub architecture: Architecture,
    /// Channels of the stem and of the first stage's 3×3 convolutions, at least 1.
    pub width: usize,
    /// Layers before the first stage.
    pub stem: Stem,
}

impl Architecture {
    fn blocks(self) -> &'static [usize] {
        match self {
            Self::ResNetSmall => &[1, 1, 1],
            Self::ResNet18 => &[2, 2, 2, 2],
            Self::ResNet34 | Self::ResNet50 => &[3, 4, 6, 3],
        }
    }

    fn block(self) -> Block {
        match self {
            Self::ResNetSmall | Self::ResNet18 | Self::ResNet34 => Block::Basic,
            Self::ResNet50 => Block::Bottleneck,
        }
    }
}

/// Number of features of a backbone's output.
pub fn output_width(settings: BackboneSettings) -> usize {
    let BackboneSettings { architecture, width, stem: _ } = settings;
    (width << (architecture.blocks().len() - 1)) * architecture.block().expansion()
}

/// The backbone: `[batch, 3, h, w]` to `[batch, features, 1, 1]`.
///
/// The last γ of every block starts at 0, so the network starts as a shallow one (Goyal et al.
/// 2017).
pub fn backbone(settings: BackboneSettings) -> Network {
    stages(settings).average_pool().build().expect(FITS)
}

/// [`backbone`] without its average pool, which the head adds: `[batch, 3, h, w]` to
/// `[batch, features, h', w']`. The parameters and their names are the same.
pub fn feature_maps(settings: BackboneSettings) -> Network {
    stages(settings).build().expect(FITS)
}

fn stages(settings: BackboneSettings) -> Builder {
    let BackboneSettings { architecture, width, stem } = settings;
    let kind = architecture.block();
    let mut builder = Builder::new(Shape::any_size(3)).stem(stem, width);
    for (stage, blocks) in architecture.blocks().iter().enumerate() {
        for block in 0..*blocks {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let name = format!("layer{}.{block}", stage + 1);
            builder = builder.block(kind, &name, width << stage, stride);
        }
    }
    builder
}

impl Builder {
    fn stem(self, stem: Stem, width: usize) -> Self {
        let (kernel, stride) = match stem {
            Stem::Small => (3, 1),
            Stem::SmallStrided => (3, 2),
            Stem::ImageNet => (7, 2),
        };
        let builder = self.conv("conv1", width, kernel, stride).batch_norm("bn1").relu();
        match stem {
            Stem::ImageNet => builder.max_pool(3, 2, 1),
            Stem::Small | Stem::SmallStrided => builder,
        }
    }
}
