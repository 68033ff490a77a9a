"""Compares `bissl hvp` with PyTorch: loss, gradient and curvature product of a random state. See README.md.

The state, the views and the vector are written as safetensors under PyTorch's own names, `bissl hvp`
reads them, and what it writes is held against double backward in f64.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from algorithm import Curvature, Tower, Vector, gauss_newton, simclr
from check import distance, norm
from meter import Result, write
from network import BLOCKS, STEMS, TEMPERATURE, ResNet, Shape, projector

LIMITS = {"f64": 1e-9, "f32": 1e-2}
"""Largest relative error: rounding in f64; in f32 a ReLU near 0 may take its other branch."""


def state(arguments: argparse.Namespace) -> tuple[Tower, list[Tensor], Vector]:
    """A tower with every gamma away from 0, two views and a direction, all exact in the precision asked for."""
    torch.manual_seed(arguments.seed)
    kind = torch.float64 if arguments.precision == "f64" else torch.float32
    shape = Shape(arguments.architecture, arguments.width, arguments.stem)
    tower = Tower(ResNet(shape).to(kind), projector(shape.features()).to(kind))
    for module in (*tower.backbone.modules(), *tower.head.modules()):
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    views = [torch.randn(arguments.batch, 3, arguments.size, arguments.size, dtype=kind) for _ in range(2)]
    return tower, views, [torch.randn_like(p) for p in tower.backbone.parameters()]


def expected(tower: Tower, views: list[Tensor], vector: Vector, curvature: str) -> tuple[float, Vector, Vector]:
    """Loss, gradient and product in f64."""
    tower.backbone.double()
    tower.head.double()
    views, vector = [view.double() for view in views], [v.double() for v in vector]
    at = Curvature(tower, views)
    gradient = [g.detach() for g in at.gradient()]
    product = at.rebuilt(vector) if curvature == "hessian" else gauss_newton(tower, views)(vector)
    return float(simclr(tower, views).detach()), gradient, product


def ours(arguments: argparse.Namespace, tower: Tower, views: list[Tensor], vector: Vector) -> tuple[dict, Result]:
    """What `bissl hvp` writes, and what it prints."""
    names = [name for name, _ in tower.backbone.named_parameters()]
    weights = dict(tower.backbone.state_dict())
    weights |= {f"projector.{name}": tensor for name, tensor in tower.head.state_dict().items()}
    inputs = {
        "backbone": weights,
        "views": dict(zip(("view_a", "view_b"), views, strict=True)),
        "vector": dict(zip(names, vector, strict=True)),
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [arguments.binary, "hvp", "--json"]
        command += ["--curvature", arguments.curvature, "--precision", arguments.precision]
        command += ["--stem", arguments.stem, "--temperature", str(TEMPERATURE)]
        for name, tensors in inputs.items():
            path = Path(folder) / f"{name}.safetensors"
            save_file({key: tensor.detach().contiguous().numpy() for key, tensor in tensors.items()}, path)
            command += [f"--{name}", str(path)]
        out = Path(folder) / "out.safetensors"
        done = subprocess.run([*command, "--out", str(out)], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{arguments.binary} hvp: found exit status {done.returncode}, expected 0")
        return {key: torch.from_numpy(array) for key, array in load_file(out).items()}, json.loads(done.stdout)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/bissl", help="the bissl program")
    parser.add_argument("--architecture", choices=BLOCKS, default="resnet18")
    parser.add_argument("--width", type=int, default=8, help="channels of the first stage")
    parser.add_argument("--stem", choices=STEMS, default="small")
    parser.add_argument("--size", type=int, default=16, help="side of the images, pixels")
    parser.add_argument("--batch", type=int, default=8, help="images of each of the two views")
    parser.add_argument("--curvature", choices=("hessian", "gauss-newton"), default="hessian")
    parser.add_argument("--precision", choices=LIMITS, default="f32", help="f64 needs a bissl with `ndarray`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="one object, to FILE or printed")
    return parser.parse_args()


def main() -> int:
    """Exit status: 0, or 1 where an error is beyond its limit."""
    arguments = parse()
    tower, views, vector = state(arguments)
    names = [name for name, _ in tower.backbone.named_parameters()]
    found, printed = ours(arguments, tower, views, vector)
    loss, gradient, product = expected(tower, views, vector, arguments.curvature)

    def tensors(kind: str) -> Vector:
        return [found[f"{kind}.{name}"].double() for name in names]

    errors = {
        "loss_error": abs(float(found["loss"]) - loss) / abs(loss),
        "gradient_error": distance(tensors("gradient"), gradient),
        "product_error": distance(tensors("product"), product),
    }
    limit = LIMITS[arguments.precision]
    passed = all(error <= limit for error in errors.values())
    about = {key: printed[key] for key in ("network", "views", "curvature", "precision", "backend")}
    sizes = {"loss": loss, "gradient_norm": norm(gradient), "product_norm": norm(product)}
    result = {"measurement": "check_hvp", "torch": torch.__version__} | about | sizes | errors
    write(result | {"limit": limit, "passed": passed}, arguments.json)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
