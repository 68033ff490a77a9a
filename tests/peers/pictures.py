"""Makes JPEGs of a realistic size out of small pictures, to time decoding and augmentation with. See README.md.

Each is a mosaic of enlarged pictures of the source, 500 x 375 pixels or, every fourth, upright. The smaller the
tiles, the more detail, and the more bytes there are to decode.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image


def mosaic(paths: list[Path], size: tuple[int, int], tile: int, draws: random.Random) -> Image.Image:
    """Random pictures of the source, each `tile` pixels square."""
    image = Image.new("RGB", size)
    for top in range(0, size[1], tile):
        for left in range(0, size[0], tile):
            with Image.open(draws.choice(paths)) as picture:
                enlarged = picture.convert("RGB").resize((tile, tile), Image.Resampling.BICUBIC)
            image.paste(enlarged, (left, top))
    return image


def main() -> None:
    """Makes the pictures and prints their number and mean size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of JPEG and PNG files")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--tile", type=int, default=64, help="side of an enlarged picture, pixels")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEGs")
    arguments = parser.parse_args()
    endings = (".jpg", ".jpeg", ".png")
    paths = sorted(path for path in arguments.source.rglob("*") if path.suffix.lower() in endings)
    if not paths:
        raise SystemExit(f"{arguments.source}: found no JPEG or PNG files, expected some")
    arguments.out.mkdir(parents=True, exist_ok=True)
    draws, total = random.Random(0), 0
    for number in range(arguments.count):
        size = (375, 500) if number % 4 == 0 else (500, 375)
        path = arguments.out / f"{number:05}.jpg"
        mosaic(paths, size, arguments.tile, draws).save(path, quality=arguments.quality)
        total += path.stat().st_size
    print(f"{arguments.count} pictures, {total / arguments.count:.0f} bytes on average")


if __name__ == "__main__":
    main()
