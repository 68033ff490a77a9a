"""Weights from PyTorch to bissl and back: names, files for the tests, and features on both sides. See README.md."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from meter import Result, write
from network import ResNet, Shape

ARCHITECTURES = ("resnet18", "resnet34", "resnet50")
STEMS = ("imagenet", "small")
LIMIT = 1e-4
"""Largest difference of two features, relative to the largest feature."""

State = dict[str, Tensor]


def save_zip(state: object, path: Path) -> None:
    """As `torch.save` writes since 1.6."""
    torch.save(state, path)


def save_legacy(state: object, path: Path) -> None:
    """As `torch.save` wrote before."""
    torch.save(state, path, _use_new_zipfile_serialization=False)


def save_safetensors(state: State, path: Path) -> None:
    """As safetensors' own functions for PyTorch write."""
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


CONTAINERS: dict[str, tuple[Callable[[State, Path], None], str]] = {
    "zip": (save_zip, "pth"),
    "legacy": (save_legacy, "pth"),
    "safetensors": (save_safetensors, "safetensors"),
}


def torchvision_model(architecture: str, stem: str) -> nn.Module:
    """torchvision's own network; for small images with the 3x3 stem that everyone gives it."""
    model = torchvision.models.get_model(architecture, weights=None, zero_init_residual=True)
    if stem == "small":
        model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = nn.Identity()
    return model


def randomize(model: nn.Module, images: Tensor) -> nn.Module:
    """No gamma at 0, and running statistics that belong to these weights but to no batch of them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 1.0)
            nn.init.normal_(module.bias, 0, 0.1)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn_like(images) * 0.7 + 0.2)
    return model.eval()


@torch.no_grad()
def features(model: nn.Module, images: Tensor) -> Tensor:
    """What the classifier of a torchvision network sees; all that a network of ours gives."""
    if not hasattr(model, "fc"):
        return model(images)
    model.fc = nn.Identity()
    return model(images)


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    found, expected = found.double(), expected.double()
    if found.shape != expected.shape:
        raise SystemExit(f"found features {list(found.shape)}, expected {list(expected.shape)}")
    return float((found - expected).abs().max() / expected.abs().max())


def bissl(binary: str, *arguments: object) -> str:
    """Runs the program; what it prints."""
    command = [binary, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: found exit status {done.returncode}, expected 0\n{done.stderr}")
    return done.stdout + done.stderr


def bissl_features(binary: str, run: Path, images: Tensor, folder: Path) -> Tensor:
    """Features of a run's backbone."""
    given, out = folder / "images.safetensors", folder / "features.safetensors"
    save_file({"images": images.contiguous()}, given)
    bissl(binary, "features", "--from", run, "--input", given, "--out", out)
    return load_file(out)["features"]


def exported(binary: str, run: Path, folder: Path) -> State:
    """A run's backbone as bissl writes it."""
    out = folder / "exported.safetensors"
    bissl(binary, "export", "--from", run, "--out", out)
    return load_file(out)


def load(model: nn.Module, state: State) -> nn.Module:
    """Loads an exported backbone, which lacks the classifier and nothing else."""
    result = model.load_state_dict(state, strict=False)
    missing = {name for name in result.missing_keys if not name.startswith("fc.")}
    if missing or result.unexpected_keys:
        raise SystemExit(f"found missing {missing}, unexpected {result.unexpected_keys}, expected neither")
    return model.eval()


def round_trip(binary: str, architecture: str, stem: str, container: str, size: int) -> Result:
    """PyTorch to bissl and back: both differences of the features."""
    torch.manual_seed(ARCHITECTURES.index(architecture))
    images = torch.randn(4, 3, size, size)
    model = randomize(torchvision_model(architecture, stem), images)
    state = OrderedDict((name, tensor.clone()) for name, tensor in model.state_dict().items())
    expected = features(model, images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save, extension = CONTAINERS[container]
        file, run = folder / f"weights.{extension}", folder / "run"
        save(state, file)
        bissl(binary, "import", file, "--out", run)
        found = bissl_features(binary, run, images, folder)
        back = exported(binary, run, folder)
    same = all(torch.equal(back[key], value) for key, value in state.items() if not counted(key))
    returned = features(load(torchvision_model(architecture, stem), back), images)
    return {
        "network": f"{architecture} {stem}",
        "container": container,
        "pixels": size,
        "to_bissl": difference(found, expected),
        "from_bissl": difference(returned, expected),
        "tensors_equal": same,
    }


def counted(name: str) -> bool:
    """What does not come back: the classifier, and the numbers of batches."""
    return name.startswith("fc.") or name.endswith("num_batches_tracked")


def from_run(binary: str, run: Path, size: int) -> Result:
    """A run's backbone in PyTorch: the difference of the features."""
    network = tomllib.loads((run / "config.toml").read_text())["network"]
    shape = Shape(network["architecture"], network["width"], network["stem"])
    torch.manual_seed(0)
    images = torch.randn(4, 3, size, size)
    with tempfile.TemporaryDirectory() as name:
        found = bissl_features(binary, run, images, Path(name))
        model = load(ResNet(shape), exported(binary, run, Path(name)))
    return {
        "network": f"{shape.architecture} width {shape.width} stem {shape.stem}",
        "pixels": size,
        "from_bissl": difference(features(model, images), found),
    }


def check(arguments: argparse.Namespace) -> int:
    """Exit status: 0, or 1 where a difference is beyond the limit."""
    if arguments.run is None:
        trips = [
            round_trip(arguments.binary, architecture, stem, container, arguments.size)
            for architecture in arguments.architectures
            for stem in STEMS
            for container in CONTAINERS
        ]
    else:
        trips = [from_run(arguments.binary, arguments.run, arguments.size)]
    if arguments.json is None:
        for trip in trips:
            print("  ".join(f"{key} {value:.1e}" if isinstance(value, float) else f"{key} {value}" for key, value in trip.items()))
    worst = max(value for trip in trips for value in trip.values() if isinstance(value, float))
    passed = worst <= LIMIT and all(trip.get("tensors_equal", True) for trip in trips)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    result = {"measurement": "interchange"} | versions | {"largest_difference": worst, "limit": LIMIT, "passed": passed}
    write(result | ({} if arguments.json is None else {"trips": trips}), arguments.json)
    return 0 if passed else 1


def names(_: argparse.Namespace) -> int:
    """Prints name and shape of every tensor of torchvision's backbones, their classifiers left out."""
    timm = None
    if importlib.util.find_spec("timm") is not None:
        import timm
    print("# tests/peers/run interchange names, torchvision", torchvision.__version__)
    for architecture in ARCHITECTURES:
        model = torchvision.models.get_model(architecture, weights=None)
        lines = list(listing(model))
        if timm is not None and list(listing(timm.create_model(architecture, pretrained=False))) != lines:
            raise SystemExit(f"{architecture}: timm {timm.__version__} has other names or shapes")
        parameters = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("fc."))
        print(f"[{architecture}] {parameters}")
        print("\n".join(lines))
    if timm is not None:
        print(f"timm {timm.__version__} has the same names and shapes", file=sys.stderr)
    return 0


def listing(model: nn.Module) -> Iterator[str]:
    """`name shape`, the shape's numbers between commas."""
    for name, tensor in model.state_dict().items():
        if not name.startswith("fc."):
            yield f"{name} {','.join(map(str, tensor.shape))}".rstrip()


def small() -> OrderedDict[str, Tensor]:
    """Tensors of every type that is read, and of every layout."""
    numbers = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8 - 1
    return OrderedDict(
        {
            "single": numbers[:2, :3].clone(),
            "half": torch.tensor([1.0, -2.5, 65504.0, 2.0**-24, 2.0**-14], dtype=torch.float16),
            "brain": torch.tensor([1.0, -2.5, 3.0e38, 2.0**-130], dtype=torch.bfloat16),
            "double": torch.tensor([0.1, -1e-300, 2.0**60], dtype=torch.float64),
            "parameter": nn.Parameter(torch.tensor([0.5, 0.25])),
            "part": numbers[1:3, 2:5],
            "transposed": numbers[:, :2].T,
            "scalar": torch.tensor(7.5),
            "empty": torch.zeros(0, 3),
            "bn.num_batches_tracked": torch.tensor(3),
        }
    )


def files(arguments: argparse.Namespace) -> int:
    """Writes what the tests read."""
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    save_zip(small(), folder / "small.pth")
    save_legacy(small(), folder / "small-legacy.pth")
    save_safetensors({key: value.detach() for key, value in small().items()}, folder / "small.safetensors")
    torch.manual_seed(0)
    wrapped = OrderedDict((f"module.{key}", value) for key, value in small().items())
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    about = {"epoch": 3, "arch": "resnet18", "best": 0.5, "args": argparse.Namespace(lr=0.1)}
    save_zip(about | {"state_dict": wrapped, "optimizer": optimizer.state_dict()}, folder / "checkpoint.pth")
    save_zip(nn.Linear(2, 3), folder / "module.pth")
    script = torch.jit.script(nn.Linear(2, 3))
    torch.jit.save(script, folder / "script.pth")
    for architecture, width, stem, size, save, extension in (
        ("resnet-small", 8, "small", 12, save_zip, "pth"),
        ("resnet50", 2, "imagenet", 32, save_safetensors, "safetensors"),
    ):
        images = torch.randn(2, 3, size, size)
        model = randomize(ResNet(Shape(architecture, width, stem)), images.repeat(8, 1, 1, 1)).half()
        save(OrderedDict(model.state_dict()), folder / f"{architecture}.{extension}")
        images = images.half()
        both = {"images": images.float(), "features": features(model.double(), images.double()).float()}
        save_file(both, folder / f"{architecture}-features.safetensors")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    checks = commands.add_parser("check", help="features of the same weights in PyTorch and in bissl")
    checks.add_argument("--binary", default="target/release/bissl", help="the bissl program")
    checks.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    checks.add_argument("--run", type=Path, help="a run of bissl to be looked at instead")
    checks.add_argument("--size", type=int, default=64, help="side of the images, pixels")
    checks.add_argument("--json", nargs="?", const="-", metavar="FILE", help="one object, to FILE or printed")
    checks.set_defaults(work=check)
    commands.add_parser("names", help="names and shapes of torchvision's tensors").set_defaults(work=names)
    writes = commands.add_parser("files", help="writes the files that the tests read")
    writes.add_argument("folder", type=Path)
    writes.set_defaults(work=files)
    return parser.parse_args()


def main() -> int:
    """Exit status: 0, or 1 where a check failed."""
    arguments = parse()
    return arguments.work(arguments)


if __name__ == "__main__":
    sys.exit(main())
