"""Gradient, Hessian and Gauss-Newton product of SimCLR's loss in PyTorch: the rivals of `bissl bench step`.

One JSON object a line for each precision, printed as soon as it is measured, so that a run that is stopped leaves
what it had. The networks are those of tests/peers. Precisions: f32 with TF32 forbidden, tf32 with it allowed, bf16 by
autocast with parameters in f32. The memory layout is the one in which a few eager gradients were faster.

`--compiled`: `torch.compile` of backbone and projector, and the gradient alone. PyTorch refuses to differentiate a
compiled function twice, so that a compiled product has to be written in function transforms and compiled whole:
`--compiled-products`, which takes minutes of compilation.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))

import torch
from torch import Tensor

from algorithm import Curvature, Product, Tower, Vector, gauss_newton, inner, simclr
from meter import Meter, Result, median, surroundings
from network import BLOCKS, STEMS, ResNet, Shape, nt_xent, projector

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
PRECISIONS = ("f32", "tf32", "bf16")
TRIALS = 3
"""Gradients by which the layout is chosen."""


def allow(precision: str) -> None:
    """Sets what matrix products and convolutions may do with f32.

    By the older of two interfaces: `torch.compile` reads it, and refuses a mixture.
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


@dataclasses.dataclass
class State:
    """Networks and inputs."""

    tower: Tower
    views: list[Tensor]
    vector: Vector


def build(arguments: argparse.Namespace, precision: str, layout: str, device: torch.device) -> State:
    """Random weights, random images."""
    torch.manual_seed(0)
    shape = Shape(arguments.architecture, arguments.width, arguments.stem)
    backbone = ResNet(shape).to(device=device, memory_format=LAYOUTS[layout])
    tower = Tower(backbone, projector(shape.features()).to(device), precision == "bf16")
    side = arguments.size
    views = [torch.randn(arguments.batch, 3, side, side, device=device) for _ in range(2)]
    views = [view.contiguous(memory_format=LAYOUTS[layout]) for view in views]
    return State(tower, views, [torch.randn_like(p) for p in backbone.parameters()])


def gradient(state: State) -> Callable[[], object]:
    """Of the loss in all parameters."""
    return lambda: torch.autograd.grad(simclr(state.tower, state.views), state.tower.parameters())


def times(meter: Meter, repeats: int, work: Callable[[], object]) -> list[float]:
    """Seconds of each repetition, after one that does not count."""
    work()
    return [meter.seconds(work) for _ in range(repeats)]


def figures(name: str, values: list[float]) -> Result:
    """Median, and smallest and largest over it."""
    middle = median(values)
    return {f"{name}_s": middle, f"{name}_spread": [min(values) / middle, max(values) / middle]}


def from_linearization(meter: Meter, repeats: int, name: str, state: State, make: Callable[[], Product]) -> Result:
    """Seconds of a linearisation and of products from it."""
    make()(state.vector)
    start = meter.now()
    product = make()
    linearization = meter.now() - start
    measured = times(meter, repeats, lambda: product(state.vector))
    return {f"{name}_linearization_s": linearization} | figures(f"{name}_product", measured)


def faster_layout(arguments: argparse.Namespace, precision: str, meter: Meter) -> str:
    """The layout in which a gradient takes less."""
    trials = {}
    for layout in LAYOUTS:
        state = build(arguments, precision, layout, meter.device)
        trials[layout] = median(times(meter, TRIALS, gradient(state)))
    return min(trials, key=trials.get)


def eager(arguments: argparse.Namespace, precision: str, layout: str, meter: Meter) -> Result:
    """Gradient and both products as PyTorch runs them operation by operation."""
    state = build(arguments, precision, layout, meter.device)
    at, repeats = Curvature(state.tower, state.views), arguments.repeats
    result = figures("gradient", times(meter, repeats, gradient(state)))
    result |= from_linearization(meter, repeats, "hessian", state, at.retained)
    result |= figures("hessian_rebuilt", times(meter, repeats, lambda: at.rebuilt(state.vector)))
    outer = from_linearization(meter, repeats, "gauss_newton", state, lambda: gauss_newton(state.tower, state.views))
    return result | outer


def compiled(arguments: argparse.Namespace, precision: str, layout: str, meter: Meter) -> Result:
    """The gradient, and on demand the Hessian product, by `torch.compile`."""
    # Nothing that was compiled for another precision may stand in the way, or make shapes dynamic.
    torch.compiler.reset()
    state = build(arguments, precision, layout, meter.device)
    tower = dataclasses.replace(
        state.tower,
        backbone=torch.compile(state.tower.backbone, backend=arguments.compiler),
        head=torch.compile(state.tower.head, backend=arguments.compiler),
    )
    start = time.perf_counter()
    work = gradient(dataclasses.replace(state, tower=tower))
    work()
    result: Result = {"compilation_s": meter.now() - start}
    result |= figures("gradient", times(meter, arguments.repeats, work))
    if arguments.compiled_products:
        start = time.perf_counter()
        work = compiled_product(state, arguments.compiler)
        work()
        result["product_compilation_s"] = meter.now() - start
        result |= figures("hessian_rebuilt", times(meter, arguments.repeats, work))
    return result


def compiled_product(state: State, compiler: str) -> Callable[[], object]:
    """H v by two function transforms in one compiled function, forward and first backward pass anew.

    Without running statistics, which transforms do not allow to change: in PyTorch's favour.
    """
    backbone, head = copy.deepcopy(state.tower.backbone), copy.deepcopy(state.tower.head)
    for module in (backbone, head):
        torch.func.replace_all_batch_norm_modules_(module)
    names = [name for name, _ in backbone.named_parameters()]
    parameters = {name: p.detach() for name, p in backbone.named_parameters()}
    vector = dict(zip(names, state.vector, strict=True))
    mixed = state.tower.mixed

    def loss(p: dict[str, Tensor]) -> Tensor:
        def project(view: Tensor) -> Tensor:
            with torch.autocast(view.device.type, torch.bfloat16, enabled=mixed):
                return head(torch.func.functional_call(backbone, p, (view,))).float()

        return nt_xent(*map(project, state.views))

    def slope(p: dict[str, Tensor], v: dict[str, Tensor]) -> Tensor:
        return inner(torch.func.grad(loss)(p).values(), v.values())

    product = torch.compile(torch.func.grad(slope), backend=compiler)
    return lambda: product(parameters, vector)


def measure(arguments: argparse.Namespace, precision: str, meter: Meter) -> Result:
    """One line: figures, or the error in their place."""
    mode = "compiled" if arguments.compiled else "eager"
    shape = Shape(arguments.architecture, arguments.width, arguments.stem)
    result: Result = {"measurement": "torch step", "mode": mode, "precision": precision, "network": str(shape)}
    result |= {name: getattr(arguments, name) for name in ("size", "batch", "repeats")} | surroundings(meter.device)
    allow(precision)
    try:
        layout = faster_layout(arguments, precision, meter)
        result["layout"] = layout
        meter.restart_peak()
        result |= {"compiled": compiled, "eager": eager}[mode](arguments, precision, layout, meter)
        result["peak_bytes"] = meter.peak_bytes()
    except Exception as error:  # What PyTorch refuses in one precision it may do in the next.
        text = str(error).strip() or type(error).__name__
        result["error"] = f"{type(error).__name__}: {text.splitlines()[0]}"
    if meter.device.type == "cuda":
        torch.cuda.empty_cache()
    return result


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=BLOCKS, default="resnet18")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--stem", choices=STEMS, default="small")
    parser.add_argument("--size", type=int, default=32, help="side of the images, pixels")
    parser.add_argument("--batch", type=int, default=64, help="images of each of the two views")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precisions", default="f32", help=f"some of {','.join(PRECISIONS)}")
    parser.add_argument("--compiled", action="store_true", help="torch.compile in the place of eager")
    parser.add_argument("--compiler", default="inductor", help="what torch.compile hands the graphs to")
    parser.add_argument("--compiled-products", action="store_true", help="and a Hessian product")
    arguments = parser.parse_args()
    arguments.precisions = arguments.precisions.split(",")
    for precision in arguments.precisions:
        if precision not in PRECISIONS:
            parser.error(f"--precisions: found {precision}, expected some of {','.join(PRECISIONS)}")
    return arguments


def main() -> int:
    """Exit status: 0, or 1 where a precision failed."""
    arguments = parse()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"PyTorch {torch.__version__} sees no CUDA device, expected one")
    torch.set_num_threads(arguments.threads)
    meter = Meter(torch.device(arguments.device))
    failed = 0
    for precision in arguments.precisions:
        result = measure(arguments, precision, meter)
        print(json.dumps(result), flush=True)
        if "error" in result:
            failed = 1
            print(result["error"], file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
