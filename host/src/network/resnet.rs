//! Residual networks (He et al. 2016) with torchvision's names, and the heads on top of them.

use super::Init;
use super::batch_norm::BatchNorm;
use super::block::Block;
use super::conv::Conv;
use super::linear::Linear;
use super::pool::{AveragePool, MaxPool};
use super::relu::Relu;
use super::sequence::{Builder, Kind, Network, Node};

/// Which residual network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Three stages of one basic block, widths w, 2w, 4w: for images of 32 pixels and small machines.
    ResNetSmall,
    /// Four stages of two basic blocks, widths w, 2w, 4w, 8w; w = 64 is ResNet-18.
    ResNet18,
    /// The same stages of 3, 4, 6 and 3 basic blocks; w = 64 is ResNet-34.
    ResNet34,
    /// The same numbers of bottleneck blocks, widths 4w, 8w, 16w, 32w; w = 64 is ResNet-50.
    ResNet50,
}

/// What stands before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 3×3 convolution, stride 1: for small images.
    Small,
    /// 3×3 convolution, stride 2: for small images and small machines.
    SmallStrided,
    /// 7×7 convolution, stride 2, and max-pool: ImageNet's.
    ImageNet,
}

/// A backbone's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackboneSettings {
    /// Stages and blocks.
    pub architecture: Architecture,
    /// Channels of the stem and of the first stage's 3×3 convolutions, at least 1.
    pub width: usize,
    /// What stands before it.
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

/// Features of a backbone's output.
pub fn output_width(settings: BackboneSettings) -> usize {
    let BackboneSettings { architecture, width, stem: _ } = settings;
    (width << (architecture.blocks().len() - 1)) * architecture.block().expansion()
}

/// The backbone: `[batch, 3, h, w]` to `[batch, features, 1, 1]`.
///
/// Every block's last γ starts at 0, so that the network starts as a shallow one (Goyal et al. 2017).
pub fn backbone(settings: BackboneSettings) -> Network {
    let BackboneSettings { architecture, width, stem } = settings;
    let kind = architecture.block();
    Network::build(|builder| {
        let mut nodes = builder.stem(stem, width);
        let mut channels = width;
        for (stage, blocks) in architecture.blocks().iter().enumerate() {
            for block in 0..*blocks {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                nodes.extend(builder.block(kind, &name, channels, width << stage, stride));
                channels = (width << stage) * kind.expansion();
            }
        }
        nodes.push(builder.layer(Kind::AveragePool(AveragePool)));
        nodes
    })
}

/// A projector: hidden layers Linear with bias, batch norm, ReLU; last Linear without bias.
///
/// `widths`: hidden widths, then the output's; at least one.
pub fn mlp_head(features: usize, widths: &[usize]) -> Network {
    Network::build(|builder| builder.mlp("", features, widths))
}

/// A projector as [`mlp_head`] with a predictor of the same kind behind it, whose names begin with
/// `predictor.`; the projector's parameters and statistics are the first of either vector.
pub fn predicting_head(features: usize, projector: &[usize], predictor: &[usize]) -> Network {
    Network::build(|builder| {
        let mut nodes = builder.mlp("", features, projector);
        let from = projector.last().copied().unwrap_or(features);
        nodes.extend(builder.mlp("predictor.", from, predictor));
        nodes
    })
}

/// A classifier: one linear layer with bias.
pub fn classifier(features: usize, classes: usize) -> Network {
    Network::build(|builder| {
        let linear = Linear::new(builder.parameters, "fc", features, classes, true);
        vec![builder.layer(Kind::Linear(linear))]
    })
}

impl Builder<'_> {
    pub(super) fn conv(
        &mut self,
        name: &str,
        from: usize,
        to: usize,
        kernel: usize,
        stride: usize,
    ) -> Node {
        let conv = Conv::new(self.parameters, name, (from, to), kernel, stride);
        self.layer(Kind::Conv(conv))
    }

    pub(super) fn norm(&mut self, name: &str, channels: usize, gamma: Init) -> Node {
        let norm = BatchNorm::new(self.parameters, self.statistics, name, channels, gamma);
        self.layer(Kind::BatchNorm(norm))
    }

    /// Hidden layers Linear with bias, batch norm, ReLU; last Linear without bias.
    fn mlp(&mut self, prefix: &str, features: usize, widths: &[usize]) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut from = features;
        for (index, to) in widths.iter().copied().enumerate() {
            let hidden = index + 1 < widths.len();
            let name = format!("{prefix}{}", 3 * index);
            let linear = Linear::new(self.parameters, &name, from, to, hidden);
            nodes.push(self.layer(Kind::Linear(linear)));
            if hidden {
                nodes.push(self.norm(&format!("{prefix}{}", 3 * index + 1), to, Init::One));
                nodes.push(self.layer(Kind::Relu(Relu)));
            }
            from = to;
        }
        nodes
    }

    fn stem(&mut self, stem: Stem, width: usize) -> Vec<Node> {
        let (kernel, stride) = match stem {
            Stem::Small => (3, 1),
            Stem::SmallStrided => (3, 2),
            Stem::ImageNet => (7, 2),
        };
        let mut nodes = vec![
            self.conv("conv1", 3, width, kernel, stride),
            self.norm("bn1", width, Init::One),
            self.layer(Kind::Relu(Relu)),
        ];
        if stem == Stem::ImageNet {
            let pool = MaxPool { kernel: 3, stride: 2, padding: 1 };
            nodes.push(self.layer(Kind::MaxPool(pool)));
        }
        nodes
    }
}
