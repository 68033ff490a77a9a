//! Residual blocks (He et al. 2016) with torchvision's names.

use super::{BatchNorm, Builder, Init, Shape};

/// The layers between two residual sums. The last γ starts at 0 in both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Two 3×3 convolutions, the first one strided.
    Basic,
    /// 1×1, 3×3 and 1×1 convolutions, the last one four times as wide. The 3×3 convolution is
    /// strided, as in torchvision; He et al. stride the first one.
    Bottleneck,
}

impl Block {
    /// Channels of the output divided by those of the 3×3 convolutions.
    pub(super) fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

impl Builder {
    /// A block whose 3×3 convolutions have `width` channels, and the ReLU after the sum.
    pub(super) fn block(self, block: Block, name: &str, width: usize, stride: usize) -> Self {
        let to = width * block.expansion();
        let projected = match self.shape() {
            Shape::Maps { channels, .. } => stride != 1 || channels != to,
            Shape::Tokens { .. } => false,
        };
        let main = |main: Self| match block {
            Block::Basic => main.chain(name, &[(width, 3, stride), (to, 3, 1)]),
            Block::Bottleneck => main.chain(name, &[(width, 1, 1), (width, 3, stride), (to, 1, 1)]),
        };
        let shortcut = |shortcut: Self| match projected {
            true => shortcut
                .conv(&format!("{name}.downsample.0"), to, 1, stride)
                .batch_norm(&format!("{name}.downsample.1")),
            false => shortcut,
        };
        self.residual_sum(main, shortcut).relu()
    }

    /// Convolutions of (channels, kernel, stride), each followed by batch norm, with ReLU between
    /// them.
    fn chain(mut self, name: &str, layers: &[(usize, usize, usize)]) -> Self {
        for (number, (to, kernel, stride)) in (1..).zip(layers.iter().copied()) {
            let last = number == layers.len();
            let gamma = if last { Init::Zero } else { Init::One };
            self = self
                .conv(&format!("{name}.conv{number}"), to, kernel, stride)
                .layer(&format!("{name}.bn{number}"), BatchNorm { gamma });
            if !last {
                self = self.relu();
            }
        }
        self
    }
}
