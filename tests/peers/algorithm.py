"""The published bilevel algorithm, one alternation of it, as its users run it in PyTorch.

Zakarias, Hansen, Tan: "BiSSL", arXiv 2410.02387. Symbols: theta_P, theta_D are the lower and the upper
backbone, phi_P and phi_D the projector and the classifier, lambda the proximity, delta the damping.

What does not enter here: loading and augmenting images, checkpoints, logging.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from meter import Meter
from network import TEMPERATURE, ResNet, Shape, nt_xent, projector

Vector = list[Tensor]
Product = Callable[[Vector], Vector]


PARTS = ("lower_s", "upper_gradients_s", "products_s", "solver_vectors_s")
"""Into which the time of an alternation is split; what is left is the upper level's optimiser."""


@dataclass
class Tower:
    """A backbone with a head; `mixed`: matrix products and convolutions in bfloat16."""

    backbone: nn.Module
    head: nn.Module
    mixed: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        if not self.mixed:
            return self.head(self.backbone(x))
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.head(self.backbone(x)).float()

    def parameters(self) -> Vector:
        """The backbone's, then the head's."""
        return [*self.backbone.parameters(), *self.head.parameters()]


def simclr(tower: Tower, views: Sequence[Tensor]) -> Tensor:
    """NT-Xent loss; each view is a forward pass of its own, with its own batch statistics."""
    a, b = (tower(view) for view in views)
    return nt_xent(a, b)


def classification(tower: Tower, images: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, mean over the batch (nats)."""
    return functional.cross_entropy(tower(images), labels)


def inner(a: Iterable[Tensor], b: Iterable[Tensor]) -> Tensor:
    """Inner product over all tensors."""
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


class Curvature:
    """H v, H being the second derivative of the pretext loss in the backbone's parameters, by double backward."""

    def __init__(self, tower: Tower, views: Sequence[Tensor]) -> None:
        self.tower = tower
        self.views = views
        self.parameters = list(tower.backbone.parameters())

    def gradient(self) -> Vector:
        """Gradient of the loss that can be differentiated again."""
        loss = simclr(self.tower, self.views)
        return list(torch.autograd.grad(loss, self.parameters, create_graph=True))

    def rebuilt(self, vector: Vector) -> Vector:
        """H v with forward and first backward pass done anew, as published."""
        return list(torch.autograd.grad(inner(self.gradient(), vector), self.parameters))

    def retained(self) -> Product:
        """Products that share one forward and first backward pass; it stays alive as long as the result."""
        gradient = self.gradient()

        def product(vector: Vector) -> Vector:
            return list(torch.autograd.grad(inner(gradient, vector), self.parameters, retain_graph=True))

        return product


def gauss_newton(tower: Tower, views: Sequence[Tensor]) -> Product:
    """v -> J' C J v: J of the logits, C the curvature of the cross entropy in them.

    Differentiating the backward pass in its cotangent gives the forward derivative; both passes are kept.
    """
    parameters = list(tower.backbone.parameters())
    z = functional.normalize(torch.cat([tower(view) for view in views]))
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / TEMPERATURE).masked_fill(own, float("-inf"))
    cotangent = torch.zeros_like(logits, requires_grad=True)
    backward = torch.autograd.grad(logits, parameters, cotangent, create_graph=True)
    share = torch.softmax(logits.detach(), dim=1)

    def product(vector: Vector) -> Vector:
        (moved,) = torch.autograd.grad(backward, cotangent, vector, retain_graph=True)
        curved = share * (moved - (share * moved).sum(dim=1, keepdim=True)) / len(z)
        return list(torch.autograd.grad(logits, parameters, curved, retain_graph=True))

    return product


def ratio_or_zero(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient; 0 where the denominator is 0: a tensor whose residual is 0 takes no step."""
    return torch.where(denominator == 0, torch.zeros_like(numerator), numerator / denominator)


def layerwise(product: Product, b: Vector, shift: float, iterations: int) -> Vector:
    """The published solver of (I + H/shift) x = b: steps of each parameter tensor for itself, from 0, without a test.

    Not conjugate gradients, unless there is but one tensor.
    """
    x = [torch.zeros_like(entry) for entry in b]
    residual = [entry.clone() for entry in b]
    direction = [entry.clone() for entry in b]
    squares = [(r * r).sum() for r in residual]
    for _ in range(iterations):
        curved = product(direction)
        for i, p in enumerate(direction):
            image = p + curved[i] / shift
            step = ratio_or_zero(squares[i], (p * image).sum())
            x[i] = x[i] + step * p
            residual[i] = residual[i] - step * image
            square = (residual[i] * residual[i]).sum()
            direction[i] = residual[i] + ratio_or_zero(square, squares[i]) * p
            squares[i] = square
    return x


def clip(gradient: Vector, norm_max: float) -> Vector:
    """The gradient with its total norm at most `norm_max`."""
    norm = torch.stack([g.norm() for g in gradient]).norm()
    factor = (norm_max / (norm + 1e-6)).clamp(max=1.0)
    return [g * factor for g in gradient]


class Lars:
    """Layer-wise adaptive rates (You et al. 2017) with momentum, for every tensor, without exclusions."""

    def __init__(self, parameters: Vector, rate: float) -> None:
        self.parameters = parameters
        self.rate = rate
        self.moments = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, gradient: Vector) -> None:
        """One step against `gradient`."""
        for p, m, g in zip(self.parameters, self.moments, gradient, strict=True):
            d = g + 1e-6 * p
            weight, length = p.norm(), d.norm()
            trust = torch.where((weight > 0) & (length > 0), 0.001 * weight / length, torch.ones_like(weight))
            m.mul_(0.9).add_(trust * d)
            p.sub_(self.rate * m)


class Sgd:
    """Stochastic gradient descent with momentum 0.9 and weight decay."""

    def __init__(self, parameters: Vector, rate: float, decay: float) -> None:
        self.parameters = parameters
        self.rate = rate
        self.decay = decay
        self.moments = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, gradient: Vector) -> None:
        """One step against `gradient`."""
        for p, m, g in zip(self.parameters, self.moments, gradient, strict=True):
            m.mul_(0.9).add_(g + self.decay * p)
            p.sub_(self.rate * m)


@dataclass(frozen=True)
class Settings:
    """Of an alternation; the defaults are the published ones, but for the batch."""

    batch: int = 64
    upper_batch: int = 64
    size: int = 32
    classes: int = 10
    lower_steps: int = 20
    upper_steps: int = 8
    iterations: int = 5
    damping: float = 10.0
    proximity: float = 0.001
    direct_weight: float = 1.0
    clip: float = 10.0


@dataclass
class Parts:
    """Seconds of each part, and the number of products."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    products: int = 0


class Bilevel:
    """Both levels' parameters and optimiser states."""

    def __init__(self, shape: Shape, settings: Settings, meter: Meter, mixed: bool, channels_last: bool) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.shape = shape
        self.settings = settings
        self.meter = meter
        self.layout = layout
        lower = ResNet(shape).to(device=meter.device, memory_format=layout)
        head = nn.Linear(shape.features(), settings.classes).to(meter.device)
        self.pretext = Tower(lower, projector(shape.features()).to(meter.device), mixed)
        self.transfer = Tower(lower, head, mixed)
        self.downstream = Tower(copy.deepcopy(lower), head, mixed)
        self.lower = Lars(self.pretext.parameters(), rate=1.0)
        self.upper = Sgd(self.downstream.parameters(), rate=0.03, decay=0.001)
        self.parts = Parts()

    def images(self, batch: int) -> Tensor:
        """Random images `[batch, 3, size, size]`."""
        size = self.settings.size
        images = torch.randn(batch, 3, size, size).to(self.meter.device)
        return images.contiguous(memory_format=self.layout)

    def views(self) -> tuple[Tensor, Tensor]:
        """Two views of a pretext batch."""
        return self.images(self.settings.batch), self.images(self.settings.batch)

    def labelled(self) -> tuple[Tensor, Tensor]:
        """A downstream batch: images and labels."""
        batch, classes = self.settings.upper_batch, self.settings.classes
        return self.images(batch), torch.randint(classes, (batch,)).to(self.meter.device)

    def timed(self, part: str, work: Callable[[], Vector]) -> Vector:
        """What `work` gives; its time counts as `part`."""
        start = self.meter.now()
        result = work()
        self.parts.seconds[part] += self.meter.now() - start
        return result

    def lower_step(self, views: Sequence[Tensor]) -> None:
        """One step of the pretext loss with the proximity to theta_D."""
        gradient = list(torch.autograd.grad(simclr(self.pretext, views), self.pretext.parameters()))
        with torch.no_grad():
            pairs = zip(self.pretext.backbone.parameters(), self.downstream.backbone.parameters(), strict=True)
            for i, (lower, upper) in enumerate(pairs):
                gradient[i] = gradient[i] + self.settings.proximity * (lower - upper)
        self.lower.step(clip(gradient, self.settings.clip))

    def upper_gradients(self, tower: Tower, batch: tuple[Tensor, Tensor]) -> Vector:
        """Gradient of the downstream loss: the backbone's tensors, then the head's."""
        return list(torch.autograd.grad(classification(tower, *batch), tower.parameters()))

    def implicit(self, at: Curvature, gradient: Vector) -> Vector:
        """x of (I + H/(lambda + delta)) x = g_P."""

        def product(vector: Vector) -> Vector:
            self.parts.products += 1
            return self.timed("products_s", lambda: at.rebuilt(vector))

        shift = self.settings.proximity + self.settings.damping
        return layerwise(product, gradient, shift, self.settings.iterations)

    def upper_step(self, at: Curvature, batch: tuple[Tensor, Tensor]) -> None:
        """One step of the downstream loss in theta_D and phi_D."""
        lower = self.timed("upper_gradients_s", lambda: self.upper_gradients(self.transfer, batch))
        backbone = len(at.parameters)
        start, before = self.meter.now(), self.parts.seconds["products_s"]
        solution = self.implicit(at, lower[:backbone])
        inside = self.parts.seconds["products_s"] - before
        self.parts.seconds["solver_vectors_s"] += self.meter.now() - start - inside
        upper = self.timed("upper_gradients_s", lambda: self.upper_gradients(self.downstream, batch))
        implicit = [*solution, *lower[backbone:]]
        total = [a + self.settings.direct_weight * b for a, b in zip(implicit, upper, strict=True)]
        self.upper.step(clip(total, self.settings.clip))

    def alternation(self, pool: Sequence[tuple[Tensor, Tensor]], labelled: Sequence[tuple[Tensor, Tensor]]) -> float:
        """Seconds of one alternation; the batches come from the two pools, in turn."""
        start = self.meter.now()
        for step in range(self.settings.lower_steps):
            self.lower_step(pool[step % len(pool)])
        self.parts.seconds["lower_s"] += self.meter.now() - start
        at = Curvature(self.pretext, pool[0])
        for step in range(self.settings.upper_steps):
            self.upper_step(at, labelled[step % len(labelled)])
        elapsed = self.meter.now() - start
        if not all(math.isfinite(p.abs().sum().item()) for p in self.downstream.parameters()):
            raise FloatingPointError("theta_D is not finite after an alternation; expected finite parameters")
        return elapsed
