"""Writes the sample files beside it, with Pillow, and prints the pixels that Pillow reads from the JPEGs.

python make.py; Pillow 12.0.0 made the files that are here.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
INKS = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 200, 100, 0), (40, 80, 120, 128)]
"""Cyan, magenta, yellow, black of the four quadrants, 255 = full ink."""


def jpegs() -> None:
    """16 x 16, four quadrants: CMYK as Pillow writes it (Adobe's convention, inverted), the same
    coefficients called YCCK by the transform byte of Adobe's marker, and a progressive JPEG."""
    image = Image.new("CMYK", (16, 16))
    for index, ink in enumerate(INKS):
        left, top = 8 * (index % 2), 8 * (index // 2)
        image.paste(ink, (left, top, left + 8, top + 8))
    image.convert("RGB").save(HERE / "progressive.jpg", quality=80, optimize=True, progressive=True)
    path = HERE / "cmyk.jpg"
    image.save(path, quality=95, optimize=True)
    data = bytearray(path.read_bytes())
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0
    data[adobe + 11] = 2
    (HERE / "ycck.jpg").write_bytes(data)
    for name in ("cmyk", "ycck"):
        pixels = Image.open(HERE / f"{name}.jpg").convert("RGB")
        print(name, [pixels.getpixel((4 + 8 * (i % 2), 4 + 8 * (i // 2))) for i in range(4)])


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def palette(depth: int, name: str, alphas: bytes = b"") -> None:
    """5 x 2 pixels in a chequer of entries 0 and 1; packed by hand, since Pillow chooses a depth itself."""
    rows = b""
    for y in range(2):
        bits = "".join(f"{(x + y) % 2:0{depth}b}" for x in range(5))
        bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
        rows += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 2, depth, 3, 0, 0, 0))
    data += chunk(b"PLTE", bytes([10, 20, 30, 110, 120, 130]))
    if alphas:
        data += chunk(b"tRNS", alphas)
    path = HERE / f"{name}.png"
    path.write_bytes(data + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    Image.open(path).convert("RGBA").load()


jpegs()
for depth in (1, 2, 4, 8):
    palette(depth, f"palette-{depth}")
palette(8, "palette-transparent", bytes([0, 128]))
