"""Times the published bilevel algorithm in PyTorch, on seeded random images. See README.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch

import check
from algorithm import Bilevel, Curvature, Parts, Settings, Vector, classification, simclr
from meter import Meter, Result, median, surroundings, write
from network import BLOCKS, STEMS, Shape, count

POOL = 4
"""Different batches that an alternation goes through in turn."""


def prepare(arguments: argparse.Namespace) -> Meter:
    """Sets threads, precision and the random stream; returns the device's meter."""
    torch.set_num_threads(arguments.threads)
    torch.set_num_interop_threads(1)
    products = "ieee" if arguments.precision == "fp32" else "tf32"
    torch.backends.cuda.matmul.fp32_precision = products
    torch.backends.cudnn.conv.fp32_precision = products
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    return Meter(torch.device(arguments.device))


def common(arguments: argparse.Namespace, state: Bilevel) -> Result:
    """What was measured: network, sizes, surroundings."""
    sizes = {key: getattr(arguments, key) for key in ("size", "batch", "precision", "channels_last")}
    return (
        {"network": str(state.shape)}
        | sizes
        | {"backbone_parameters": count(state.pretext.backbone)}
        | surroundings(state.meter.device)
    )


def build(arguments: argparse.Namespace, settings: Settings, meter: Meter) -> Bilevel:
    """The networks that the arguments name."""
    shape = Shape(arguments.architecture, arguments.width, arguments.stem)
    return Bilevel(shape, settings, meter, arguments.precision == "bf16", arguments.channels_last)


def step(arguments: argparse.Namespace) -> Result:
    """Times of a gradient and of a Hessian-vector product, medians over the repeats."""
    meter = prepare(arguments)
    state = build(arguments, Settings(batch=arguments.batch, upper_batch=arguments.batch, size=arguments.size), meter)
    views, labelled = state.views(), state.labelled()
    at = Curvature(state.pretext, views)
    vector = [torch.randn_like(p) for p in at.parameters]

    def forward() -> object:
        with torch.no_grad():
            return [state.pretext.backbone(view) for view in views]

    def gradient() -> object:
        return torch.autograd.grad(simclr(state.pretext, views), state.pretext.parameters())

    def supervised() -> object:
        return torch.autograd.grad(classification(state.downstream, *labelled), state.downstream.parameters())

    works: dict[str, Callable[[], object]] = {
        "forward": forward,
        "gradient": gradient,
        "forward_backward": supervised,
        "product_rebuilt": lambda: at.rebuilt(vector),
    }
    held = meter.peak_of(lambda: None)
    peaks = {name: meter.peak_of(work) for name, work in works.items()}
    *_, peaks["product_retained"] = retained(meter, at, vector)
    times: dict[str, list[float]] = {name: [] for name in (*works, "linearization", "product_retained")}
    for _ in range(arguments.repeats):
        for name, work in works.items():
            times[name].append(meter.seconds(work))
        linearization, product, _ = retained(meter, at, vector)
        times["linearization"].append(linearization)
        times["product_retained"].append(product)
    seconds = {f"{name}_s": median(values) for name, values in times.items()}
    ratios = {}
    for name in ("product_rebuilt", "product_retained"):
        ratios[f"{name}_over_gradient"] = seconds[f"{name}_s"] / seconds["gradient_s"]
        ratios[f"{name}_memory_over_gradient"] = (peaks[name] - held) / max(peaks["gradient"] - held, 1)
    memory = {f"{name}_peak_bytes": peak for name, peak in peaks.items()} | {"held_bytes": held}
    memory |= meter.memory(max(peaks.values()))
    runs = {"repeats": arguments.repeats, "gradient_runs_s": times["gradient"]}
    return {"measurement": "step"} | common(arguments, state) | seconds | ratios | memory | runs


def retained(meter: Meter, at: Curvature, vector: Vector) -> tuple[float, float, int]:
    """Seconds of a linearisation, seconds of one product from it, peak memory of both in bytes."""
    meter.restart_peak()
    start = meter.now()
    product = at.retained()
    linearization = meter.now() - start
    return linearization, meter.seconds(lambda: product(vector)), meter.peak_bytes()


def alternation(arguments: argparse.Namespace) -> Result:
    """Times of whole alternations: median of the whole, mean of each part."""
    meter = prepare(arguments)
    steps = ("lower_steps", "upper_steps", "iterations")
    names = ("batch", "upper_batch", "size", "classes", *steps, "damping", "proximity")
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    state = build(arguments, settings, meter)
    pool = [state.views() for _ in range(POOL)]
    labelled = [state.labelled() for _ in range(POOL)]
    if arguments.warmup:
        state.lower_step(pool[0])
        state.upper_step(Curvature(state.pretext, pool[0]), labelled[0])
        state.parts = Parts()
    meter.restart_peak()
    times = [state.alternation(pool, labelled) for _ in range(arguments.alternations)]
    share = 1 / len(times)
    parts = {name: seconds * share for name, seconds in state.parts.seconds.items()}
    products = state.parts.products // len(times)
    result: Result = {"measurement": "alternation"} | common(arguments, state)
    result |= {name: getattr(arguments, name) for name in names}
    # As `bissl bench stage` tells them: images of a lower step and of a product; N_L and N_U.
    result |= {"batch": [settings.batch] * 2, "steps": [settings.lower_steps, settings.upper_steps]}
    result |= {"alternation_s": median(times), "alternation_runs_s": times}
    result |= parts | {"upper_s": sum(times) * share - parts["lower_s"], "products": products}
    if products:
        result["product_s"] = parts["products_s"] / products
    if settings.lower_steps:
        result["lower_step_s"] = parts["lower_s"] / settings.lower_steps
    return result | meter.memory(meter.peak_bytes())


def at_least(minimum: int) -> Callable[[str], int]:
    """A reader of whole numbers from `minimum` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"found {text}, expected a whole number of at least {minimum}")
        return int(text)

    return read


def add_common(parser: argparse.ArgumentParser) -> None:
    """The flags of every measurement."""
    parser.add_argument("--architecture", choices=BLOCKS, default="resnet18")
    parser.add_argument("--width", type=at_least(1), default=64, help="channels of the first stage")
    parser.add_argument("--stem", choices=STEMS, default="small")
    parser.add_argument("--size", type=at_least(1), default=32, help="side of the images, pixels")
    parser.add_argument("--batch", type=at_least(1), default=64, help="images of each of the two pretext views")
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="fp32")
    parser.add_argument("--channels-last", action="store_true", help="memory layout of the convolutions")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="one object, to FILE or printed")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("step", help="a gradient and a Hessian-vector product")
    add_common(one)
    one.add_argument("--repeats", type=at_least(1), default=5)
    whole = commands.add_parser("alternation", help="lower steps, then upper steps with their solves")
    add_common(whole)
    whole.add_argument("--alternations", type=at_least(1), default=1)
    whole.add_argument("--upper-batch", type=at_least(1), default=64, help="labelled images of an upper step")
    whole.add_argument("--classes", type=at_least(1), default=10)
    whole.add_argument("--lower-steps", type=at_least(0), default=20)
    whole.add_argument("--upper-steps", type=at_least(0), default=8)
    whole.add_argument("--iterations", type=at_least(0), default=5, help="products of a solve")
    whole.add_argument("--damping", type=float, default=10.0)
    whole.add_argument("--proximity", type=float, default=0.001)
    whole.add_argument("--warmup", action="store_true", help="one lower and one upper step before the clock starts")
    right = commands.add_parser("check", help="symmetry, central differences, solver and loss, in f64")
    right.add_argument("--json", nargs="?", const="-", metavar="FILE", help="one object, to FILE or printed")
    return parser.parse_args()


def main() -> int:
    """Exit status: 0, or 1 where a check fails."""
    arguments = parse()
    if arguments.command == "check":
        result = check.run()
        write(result, arguments.json)
        return 0 if result["passed"] else 1
    write({"step": step, "alternation": alternation}[arguments.command](arguments), arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
