"""Shows in f64, on a small network, that what is timed is what it says it is."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from algorithm import Curvature, Tower, Vector, inner, layerwise, simclr
from meter import Result
from network import ResNet, Shape, nt_xent, projector

LIMITS = {
    "symmetry_error": (1e-10, "rounding of two products of about 30 layers"),
    "difference_error": (1e-5, "rounding over the step, about 1e-16/1e-8, times |g|/|Hv|"),
    "retained_error": (1e-10, "the same sums, perhaps in another order"),
    "solver_error": (1e-9, "conjugate gradients end after as many iterations as unknowns"),
    "loss_error": (1e-12, "the same sums in another order"),
}
"""Largest relative error of each check, and why that much."""


def network() -> tuple[Tower, list[Tensor]]:
    """A narrow ResNet-18 with every gamma away from 0, and two views of it."""
    shape = Shape("resnet18", 4, "small")
    tower = Tower(ResNet(shape).double(), projector(shape.features()).double())
    for module in tower.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return tower, [torch.randn(6, 3, 16, 16, dtype=torch.float64) for _ in range(2)]


def norm(vector: Iterable[Tensor]) -> float:
    """Euclidean length over all tensors."""
    return float(torch.stack([entry.detach().norm() for entry in vector]).norm())


def distance(a: Vector, b: Vector) -> float:
    """|a - b| / |b|."""
    return norm([x - y for x, y in zip(a, b, strict=True)]) / norm(b)


def shifted_gradient(at: Curvature, vector: Vector, step: float) -> Vector:
    """Gradient at theta + step*vector; theta is put back."""
    before = [p.detach().clone() for p in at.parameters]
    with torch.no_grad():
        for p, v in zip(at.parameters, vector, strict=True):
            p.add_(v, alpha=step)
    gradient = list(torch.autograd.grad(simclr(at.tower, at.views), at.parameters))
    with torch.no_grad():
        for p, old in zip(at.parameters, before, strict=True):
            p.copy_(old)
    return gradient


def difference_error(at: Curvature, vector: Vector) -> float:
    """Of the product, against central differences of the gradient.

    The step is 1e-8 of the parameters' length: longer ones cross kinks of the ReLUs.
    """
    step = 1e-8 * norm(at.parameters) / norm(vector)
    above, below = (shifted_gradient(at, vector, sign * step) for sign in (1.0, -1.0))
    quotient = [(a - b) / (2 * step) for a, b in zip(above, below, strict=True)]
    return distance(quotient, at.rebuilt(vector))


def solver_error() -> float:
    """Of the layer-wise solver on two tensors that H does not couple: conjugate gradients for each."""
    matrices = [torch.randn(n, n, dtype=torch.float64) for n in (5, 3)]
    matrices = [m @ m.T for m in matrices]
    b = [torch.randn(m.shape[0], dtype=torch.float64) for m in matrices]
    shift = 2.0
    x = layerwise(lambda v: [m @ e for m, e in zip(matrices, v, strict=True)], b, shift, 5)
    identity = [torch.eye(m.shape[0], dtype=torch.float64) for m in matrices]
    exact = [torch.linalg.solve(i + m / shift, e) for i, m, e in zip(identity, matrices, b, strict=True)]
    return distance(x, exact)


def loss_error() -> float:
    """Of the NT-Xent loss, against its definition anchor by anchor."""
    a, b = (torch.randn(4, 7, dtype=torch.float64) for _ in range(2))
    z = torch.cat([a, b])
    z = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(8):
        similarities = torch.stack([z[i] @ z[j] / 0.5 for j in range(8) if j != i])
        total += float(torch.logsumexp(similarities, 0) - z[i] @ z[(i + 4) % 8] / 0.5)
    return abs(float(nt_xent(a, b)) - total / 8) / abs(total / 8)


def run() -> Result:
    """Every error with its limit; `passed` tells whether all are within."""
    torch.manual_seed(0)
    tower, views = network()
    at = Curvature(tower, views)
    u, v = ([torch.randn_like(p) for p in at.parameters] for _ in range(2))
    hu, hv = at.rebuilt(u), at.rebuilt(v)
    errors = {
        "symmetry_error": abs(float(inner(u, hv) - inner(v, hu))) / (norm(u) * norm(hv)),
        "difference_error": difference_error(at, v),
        "retained_error": distance(at.retained()(v), hv),
        "solver_error": solver_error(),
        "loss_error": loss_error(),
    }
    limits = {f"{name}_limit": limit for name, (limit, _) in LIMITS.items()}
    passed = all(error <= LIMITS[name][0] for name, error in errors.items())
    return {"measurement": "check"} | errors | limits | {"passed": passed}
