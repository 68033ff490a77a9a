"""Synthetic pictures, made without any package: waves of random period and colour.

Neither black nor noise: noise would make PNG files that nobody has, and a loss that tells nothing.
"""

from __future__ import annotations

import math
import random
import struct
import zlib
from pathlib import Path

SIDE = 32
"""Of CIFAR-10's images, pixels."""
CLASSES = 10


def wave(draw: random.Random, length: int) -> bytes:
    """A smooth line of `length` bytes."""
    period, phase, height = draw.uniform(8, 60), draw.uniform(0, math.tau), draw.uniform(30, 120)
    return bytes(int(128 + height * math.sin(phase + math.tau * i / period)) for i in range(length))


def waves(draw: random.Random, width: int, height: int) -> list[bytes]:
    """Long lines to cut rows of pixels from."""
    return [wave(draw, width + 4 * height) for _ in range(64)]


def plane(draw: random.Random, lines: list[bytes], width: int, height: int) -> list[bytes]:
    """Rows of one colour: a line that moves on by 0 to 3 pixels from row to row."""
    line, slope = draw.choice(lines), draw.randrange(4)
    return [line[slope * row : slope * row + width] for row in range(height)]


def cifar(folder: Path, images: int) -> None:
    """As CIFAR-10 is published: five files of training images, one of test images."""
    draw = random.Random(0)
    lines = waves(draw, SIDE, SIDE)

    def record(index: int) -> bytes:
        planes = [row for _ in range(3) for row in plane(draw, lines, SIDE, SIDE)]
        return bytes([index % CLASSES]) + b"".join(planes)

    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("".join(f"class{index}\n" for index in range(CLASSES)))
    for file in range(5):
        (folder / f"data_batch_{file + 1}.bin").write_bytes(b"".join(record(i) for i in range(file, images, 5)))
    (folder / "test_batch.bin").write_bytes(b"".join(record(i) for i in range(CLASSES)))


def png(width: int, height: int, planes: list[list[bytes]]) -> bytes:
    """Three planes as a PNG file of eight bits a colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = bytearray()
    for red, green, blue in zip(*planes, strict=True):
        pixels = bytearray(3 * width)
        pixels[0::3], pixels[1::3], pixels[2::3] = red, green, blue
        rows += b"\0" + pixels
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def folder_of_png(folder: Path, images: int, side: int) -> None:
    """PNG files of `side` pixels."""
    draw = random.Random(1)
    lines = waves(draw, side, side)
    folder.mkdir(parents=True)
    for index in range(images):
        planes = [plane(draw, lines, side, side) for _ in range(3)]
        (folder / f"{index:06}.png").write_bytes(png(side, side, planes))
