//! Residual blocks (He et al. 2016) with torchvision's names.

use super::Init;
use super::relu::Relu;
use super::sequence::{Builder, Kind, Node};

/// What stands between two residual sums. The last γ starts at 0 in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Two 3×3 convolutions, the first one strided.
    Basic,
    /// 1×1, 3×3, 1×1, the last one four times as wide. The 3×3 convolution is strided, as torchvision's
    /// and unlike He et al.'s, who stride the first one.
    Bottleneck,
}

impl Block {
    /// Channels of the output over those of the 3×3 convolutions.
    pub(super) fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

impl Builder<'_> {
    /// A block from `from` channels whose 3×3 convolutions have `width`, and the ReLU behind the sum.
    pub(super) fn block(
        &mut self,
        block: Block,
        name: &str,
        from: usize,
        width: usize,
        stride: usize,
    ) -> [Node; 2] {
        let to = width * block.expansion();
        let main = match block {
            Block::Basic => self.chain(name, from, &[(width, 3, stride), (to, 3, 1)]),
            Block::Bottleneck => {
                self.chain(name, from, &[(width, 1, 1), (width, 3, stride), (to, 1, 1)])
            }
        };
        let mut shortcut = Vec::new();
        if stride != 1 || from != to {
            shortcut.push(self.conv(&format!("{name}.downsample.0"), from, to, 1, stride));
            shortcut.push(self.norm(&format!("{name}.downsample.1"), to, Init::One));
        }
        [Node::Residual { main, shortcut }, self.layer(Kind::Relu(Relu))]
    }

    /// Convolutions of (channels, kernel, stride), each with batch norm, ReLU between them.
    fn chain(&mut self, name: &str, from: usize, layers: &[(usize, usize, usize)]) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut from = from;
        for (number, (to, kernel, stride)) in (1..).zip(layers.iter().copied()) {
            let last = number == layers.len();
            let gamma = if last { Init::Zero } else { Init::One };
            nodes.push(self.conv(&format!("{name}.conv{number}"), from, to, kernel, stride));
            nodes.push(self.norm(&format!("{name}.bn{number}"), to, gamma));
            if !last {
                nodes.push(self.layer(Kind::Relu(Relu)));
            }
            from = to;
        }
        nodes
    }
}
