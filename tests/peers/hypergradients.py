"""Hypergradient of a logistic regression with one regularisation weight per feature, by hand, on one thread.

Lower: min over theta of `mean log(1 + exp(-y * X theta)) + 1/2 sum_j exp(alpha_j) theta_j^2`.
Upper: the mean logistic loss on other data. Wanted: its gradient in alpha at the lower minimum,
`-exp(alpha_j) theta_j q_j` with `H q = g`, H the lower Hessian and g the upper gradient, q from a
fixed number of conjugate-gradient iterations that start at 0 and never form H.

Timed: from theta and the data to the hypergradient. Not timed: finding theta, in f64 by Newton's method.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # read when numpy is imported

import numpy as np
from numpy.typing import NDArray

from meter import Result, median, write

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Problem:
    """Data `[rows, features]`, labels of -1 and 1 `[rows]`, alpha and theta `[features]`."""

    train: Array
    train_labels: Array
    validation: Array
    validation_labels: Array
    alpha: Array
    theta: Array

    def of_type(self, kind: str) -> Problem:
        """The same in another floating-point type."""
        return Problem(*(np.ascontiguousarray(value, dtype=kind) for value in vars(self).values()))


def sigmoid(x: Array) -> Array:
    """1/(1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def gradient(data: Array, labels: Array, theta: Array) -> Array:
    """Of the mean logistic loss."""
    return data.T @ (-labels * sigmoid(-labels * (data @ theta))) / np.asarray(len(labels), data.dtype)


def weights(data: Array, theta: Array) -> Array:
    """Of the rows in the mean logistic loss's Hessian, `[rows]`."""
    p = sigmoid(data @ theta)
    return p * (1 - p) / np.asarray(len(data), data.dtype)


def hessian(data: Array, alpha: Array, theta: Array) -> Array:
    """Of the lower objective, dense."""
    return data.T @ (weights(data, theta)[:, None] * data) + np.diag(np.exp(alpha))


def problem(rows: int, features: int) -> Problem:
    """Seeded: normal data, labels from a linear model with noise, exp(alpha) log-uniform in 0.03 to 0.3."""
    random = np.random.default_rng(0)
    truth = random.standard_normal(features) / np.sqrt(features)
    alpha = random.uniform(np.log(0.03), np.log(0.3), features)

    def draw() -> tuple[Array, Array]:
        data = random.standard_normal((rows, features))
        return data, np.where(data @ truth + 0.5 * random.standard_normal(rows) > 0, 1.0, -1.0)

    train, train_labels = draw()
    validation, validation_labels = draw()
    theta = np.zeros(features)
    for _ in range(20):
        slope = gradient(train, train_labels, theta) + np.exp(alpha) * theta
        theta = theta - np.linalg.solve(hessian(train, alpha, theta), slope)
        if np.linalg.norm(slope) < 1e-12:
            return Problem(train, train_labels, validation, validation_labels, alpha, theta)
    raise ArithmeticError("Newton's method on the lower problem: found no minimum in 20 steps")


def dense(at: Problem) -> Array:
    """The hypergradient from a dense solve."""
    q = np.linalg.solve(hessian(at.train, at.alpha, at.theta), gradient(at.validation, at.validation_labels, at.theta))
    return -np.exp(at.alpha) * at.theta * q


def by_numpy(at: Problem, products: int) -> Array:
    """The hypergradient by conjugate gradients."""
    row_weights, ridge = weights(at.train, at.theta), np.exp(at.alpha)
    residual = gradient(at.validation, at.validation_labels, at.theta)
    x, direction, square = np.zeros_like(residual), residual.copy(), residual @ residual
    for _ in range(products):
        image = at.train.T @ (row_weights * (at.train @ direction)) + ridge * direction
        step = square / (direction @ image)
        x += step * direction
        residual -= step * image
        previous, square = square, residual @ residual
        direction = residual + square / previous * direction
    return -ridge * at.theta * x


def by_torch(at: Problem) -> Callable[[int], Array]:
    """The same in PyTorch: products by differentiating the lower gradient's graph, which is kept."""
    import torch
    import torch.nn.functional as functional

    torch.set_num_threads(1)
    train, train_labels, validation, validation_labels, alpha, start = map(torch.from_numpy, vars(at).values())

    def hypergradient(products: int) -> Array:
        theta, log_ridge = start.clone().requires_grad_(), alpha.clone().requires_grad_()
        upper = functional.softplus(-validation_labels * (validation @ theta)).mean()
        (residual,) = torch.autograd.grad(upper, theta)
        lower = functional.softplus(-train_labels * (train @ theta)).mean() + (log_ridge.exp() * theta**2).sum() / 2
        (slope,) = torch.autograd.grad(lower, theta, create_graph=True)
        x, direction, square = torch.zeros_like(residual), residual.clone(), residual @ residual
        for _ in range(products):
            (image,) = torch.autograd.grad(slope, theta, direction, retain_graph=True)
            step = square / (direction @ image)
            x = x + step * direction
            residual = residual - step * image
            previous, square = square, residual @ residual
            direction = residual + square / previous * direction
        return torch.autograd.grad(slope, log_ridge, -x)[0].numpy()

    return hypergradient


def variants(at: Problem, products: int) -> dict[str, Callable[[], Array]]:
    """Every way of computing the hypergradient."""
    with_torch = by_torch(at)
    return {"numpy": lambda: by_numpy(at, products), "torch": lambda: with_torch(products)}


def median_ms(work: Callable[[], Array], repeats: int) -> float:
    """Median time of `work`, milliseconds, after three runs that do not count."""
    times = []
    for run in range(3 + repeats):
        start = time.perf_counter()
        work()
        if run >= 3:
            times.append(1e3 * (time.perf_counter() - start))
    return median(times)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="of the training and of the validation data")
    parser.add_argument("--features", type=int, default=500)
    parser.add_argument("--products", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="one object, to FILE or printed")
    return parser.parse_args()


def main() -> None:
    """Times and errors of every variant."""
    arguments = parse()
    exact = problem(arguments.rows, arguments.features)
    truth = dense(exact)
    result: Result = {key: getattr(arguments, key) for key in ("rows", "features", "products", "repeats")}
    result = {"measurement": "hypergradients", "threads": 1, "numpy": np.__version__} | result
    for kind in ("float32", "float64"):
        for name, work in variants(exact.of_type(kind), arguments.products).items():
            error = np.linalg.norm(work() - truth) / np.linalg.norm(truth)
            result[f"{name}_{kind}_ms"] = median_ms(work, arguments.repeats)
            result[f"{name}_{kind}_error"] = float(error)
    write(result, arguments.json)


if __name__ == "__main__":
    main()
