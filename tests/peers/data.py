"""Decoding and augmentation by torchvision, image by image on one process, as `bissl bench data` does. See README.md.

Pillow images throughout, torchvision's default: `ImageFolder`'s loader, then the pretext transforms of the
published method. Random numbers decide what is drawn, so times are means over many images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from meter import Result, median, surroundings, write

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ENDINGS = (".jpg", ".jpeg", ".png")

Step = Callable[[Image.Image], Image.Image]


def recipe(size: int, blur: float, solarise: float) -> tuple[list[Step], list[Step], list[Step], Callable]:
    """Crop and flip; colour; blur; to a normalised tensor. `blur`, `solarise`: probabilities."""
    crop = transforms.RandomResizedCrop(
        size, scale=(0.08, 1.0), ratio=(0.5, 1.0), interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    jitter = transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    # About a tenth of the side, odd, as SimCLR's.
    kernel = max(size // 10, 3) | 1
    blurred = transforms.RandomApply([transforms.GaussianBlur(kernel, sigma=(0.1, 2.0))], p=blur)
    solarised = transforms.RandomSolarize(threshold=128, p=solarise)
    tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)])
    return (
        [crop, transforms.RandomHorizontalFlip(0.5)],
        [transforms.RandomApply([jitter], p=0.8), transforms.RandomGrayscale(0.2)],
        [blurred, solarised],
        tensor,
    )


def load(path: Path) -> Image.Image:
    """What `ImageFolder` does."""
    with path.open("rb") as file:
        return Image.open(file).convert("RGB")


def measure(paths: list[Path], recipes: list[tuple]) -> Result:
    """Seconds an image, by part, over one pass."""
    parts = {"decode_s": 0.0, "crop_s": 0.0, "colour_s": 0.0, "blur_s": 0.0, "normalise_s": 0.0}
    start = time.perf_counter()
    for path in paths:
        now = time.perf_counter()

        def lap(part: str) -> None:
            nonlocal now
            then, now = now, time.perf_counter()
            parts[part] += now - then

        image = load(path)
        lap("decode_s")
        for crop, colour, blur, tensor in recipes:
            view = image
            for part, steps in (("crop_s", crop), ("colour_s", colour), ("blur_s", blur)):
                for step in steps:
                    view = step(view)
                lap(part)
            tensor(view)
            lap("normalise_s")
    total = time.perf_counter() - start
    result: Result = {name: seconds / len(paths) for name, seconds in parts.items()}
    return {"images_per_s": len(paths) / total, **result}


def parse() -> argparse.Namespace:
    """The command line, with the flags of `bissl bench data`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="folder of JPEG and PNG files")
    parser.add_argument("--size", type=int, default=96, help="side of the views in pixels")
    parser.add_argument("--views", type=int, default=2, choices=(1, 2), help="views of an image")
    parser.add_argument("--images", type=int, default=1000, help="at most so many")
    parser.add_argument("--repeats", type=int, default=3, help="passes; medians are printed")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch's")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="one object, to FILE or printed")
    arguments = parser.parse_args()
    for name in ("size", "images", "repeats", "threads"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name}: found {getattr(arguments, name)}, expected at least 1")
    return arguments


def main() -> None:
    """Measures and prints."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    found = sorted(path for path in arguments.path.rglob("*") if path.suffix.lower() in ENDINGS)
    paths = found[: arguments.images]
    if not paths:
        raise SystemExit(f"{arguments.path}: found no JPEG or PNG files, expected some")
    recipes = [recipe(arguments.size, 1.0, 0.0), recipe(arguments.size, 0.1, 0.2)][: arguments.views]
    # The first images pay for what is loaded late and bring the files into the system's cache.
    measure(paths, recipes)
    passes = [measure(paths, recipes) for _ in range(arguments.repeats)]
    result: Result = {
        "measurement": "data",
        "images": len(paths),
        "size": arguments.size,
        "views": arguments.views,
        "repeats": arguments.repeats,
        **surroundings(torch.device("cpu")),
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        **{name: median([one[name] for one in passes]) for name in passes[0]},
    }
    write(result, arguments.json)


if __name__ == "__main__":
    main()
