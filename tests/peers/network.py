"""Residual networks with torchvision's names, the heads on top of them, and their losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

TEMPERATURE = 0.5
BLOCKS = {
    "resnet-small": (1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}
STEMS = ("small", "small-strided", "imagenet")
PROJECTOR = (256, 256, 256)

Stem = Literal["small", "small-strided", "imagenet"]


@dataclass(frozen=True)
class Shape:
    """A backbone's shape: its stages, the channels of the first one, and what stands before it."""

    architecture: str
    width: int
    stem: Stem

    def __str__(self) -> str:
        """As bissl names it."""
        return f"{self.architecture} width {self.width} stem {self.stem} projector {list(PROJECTOR)}"

    def features(self) -> int:
        """Length of a feature vector."""
        return (self.width << (len(BLOCKS[self.architecture]) - 1)) * self.block().expansion

    def block(self) -> type[BasicBlock] | type[Bottleneck]:
        """What its stages are made of."""
        return Bottleneck if self.architecture == "resnet50" else BasicBlock


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016); the last gamma starts at 0 (Goyal et al. 2017)."""

    expansion = 1

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the 3x3 one strided as in torchvision, the last one four times as wide."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    """From images `[batch, 3, height, width]` to features `[batch, features]`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        kernel, stride = {"small": (3, 1), "small-strided": (3, 2), "imagenet": (7, 2)}[shape.stem]
        self.conv1 = nn.Conv2d(3, shape.width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(shape.width)
        self.pool = nn.MaxPool2d(3, 2, 1) if shape.stem == "imagenet" else nn.Identity()
        self.stages = []
        channels = shape.width
        kind = shape.block()
        for stage, blocks in enumerate(BLOCKS[shape.architecture]):
            width = shape.width << stage
            layer = nn.Sequential()
            for block in range(blocks):
                layer.append(kind(channels, width, 2 if block == 0 and stage > 0 else 1))
                channels = width * kind.expansion
            self.stages.append(f"layer{stage + 1}")
            self.add_module(self.stages[-1], layer)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            y = self.get_submodule(stage)(y)
        return y.mean(dim=(2, 3))


def projector(features: int) -> nn.Sequential:
    """SimCLR's projector: hidden layers Linear with bias, batch norm, ReLU; the last Linear without bias."""
    layers = nn.Sequential()
    for width in PROJECTOR[:-1]:
        layers.extend([nn.Linear(features, width), nn.BatchNorm1d(width), nn.ReLU()])
        features = width
    return layers.append(nn.Linear(features, PROJECTOR[-1], bias=False))


def nt_xent(a: Tensor, b: Tensor) -> Tensor:
    """NT-Xent loss of two views' projections `[batch, feature]`, mean over the 2*batch anchors (nats).

    Chen et al. (2020), eq. 1; the diagonal of the logits is excluded.
    """
    z = functional.normalize(torch.cat([a, b]))
    rows = z.shape[0]
    own = torch.eye(rows, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / TEMPERATURE).masked_fill(own, float("-inf"))
    targets = (torch.arange(rows, device=z.device) + rows // 2) % rows
    return functional.cross_entropy(logits, targets)


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
