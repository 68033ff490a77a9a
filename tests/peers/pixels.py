"""Writes the corpus of tests/tests/data/pixels: small files of every kind, and the pixels that libjpeg and Pillow read.

Needs cjpeg and jpegtran of libjpeg-turbo on the path (Debian: libjpeg-turbo-progs). Everything is generated from
gradients and a fixed pattern. `index.tsv` has a line a file: its name, width, height and `pixels`, or the words that a
refusal must contain; `expected.png` holds the pixels of all files below each other, in the order of the table.
"""

from __future__ import annotations

import argparse
import io
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy
from PIL import Image, ImageOps

W, H = 33, 17
"""No multiple of any MCU."""


def picture(width: int = W, height: int = H) -> numpy.ndarray:
    """Gradients on the left, hard edges on the right, RGB."""
    y, x = numpy.mgrid[0:height, 0:width]
    smooth = numpy.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), 255 - x * 4 - y * 3], -1)
    pattern = (x * 7919 + y * 104729 + x * y * 31) // 7 % 5
    hard = numpy.stack([pattern % 2 * 255, (pattern + x // 3) % 3 * 127, (pattern + y // 2) % 2 * 220], -1)
    return numpy.where((x > width * 3 // 5)[..., None], hard, smooth).clip(0, 255).astype(numpy.uint8)


def tool(name: str, arguments: list[str], data: bytes, script: str | None = None) -> bytes:
    """What a tool of libjpeg-turbo makes of `data`."""
    if shutil.which(name) is None:
        raise SystemExit(f"found no {name} on the path, expected libjpeg-turbo's (Debian: libjpeg-turbo-progs)")
    with tempfile.TemporaryDirectory() as folder:
        if script is not None:
            path = Path(folder) / "scans"
            path.write_text(script)
            arguments = [*arguments, "-scans", str(path)]
        return subprocess.run([name, *arguments], input=data, capture_output=True, check=True).stdout


def ppm(pixels: numpy.ndarray) -> bytes:
    """Binary PPM or PGM."""
    kind = "P5" if pixels.ndim == 2 else "P6"
    return f"{kind} {pixels.shape[1]} {pixels.shape[0]} 255\n".encode() + pixels.tobytes()


def jpeg(arguments: str, pixels: numpy.ndarray | None = None, script: str | None = None) -> bytes:
    """The picture through cjpeg."""
    source = picture() if pixels is None else pixels
    tables = [] if "-arithmetic" in arguments else ["-optimize"]
    return tool("cjpeg", ["-quality", "90", *tables, *arguments.split()], ppm(source), script)


def segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, start and end of every segment up to the first scan's data."""
    found, at = [], 2
    while True:
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        found.append((data[at + 1], at, at + 2 + length))
        if data[at + 1] == 0xDA:
            return found
        at += 2 + length


def without(data: bytes, marker: int) -> bytes:
    """The file without its segments of one kind."""
    for kind, start, end in reversed(segments(data)):
        if kind == marker:
            data = data[:start] + data[end:]
    return data


def after_start(data: bytes, *parts: bytes) -> bytes:
    """The file with segments behind its first marker."""
    return data[:2] + b"".join(parts) + data[2:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


JFIF = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def ids(data: bytes, frame: bytes, scan: bytes | None = None) -> bytes:
    """Other component ids in the frame and in the (only) scan."""
    out = bytearray(data)
    for marker, start, _ in segments(data):
        if marker in (0xC0, 0xC1, 0xC2):
            out[start + 10 : start + 10 + 3 * len(frame) : 3] = frame
        if marker == 0xDA:
            out[start + 5 : start + 5 + 2 * len(frame) : 2] = scan or frame
    return bytes(out)


def exif(orientation: int, order: str, kind: str = "H") -> bytes:
    """An Exif segment's content with one entry: orientation as SHORT (`H`) or LONG (`L`)."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHI", 0x0112, 3 if kind == "H" else 4, 1)
    return head + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + kind, orientation).ljust(4, b"\0") + bytes(4)


def with_exif(data: bytes, content: bytes) -> bytes:
    return after_start(data, segment(0xE1, b"Exif\0\0" + content))


def cut_at(data: bytes, share: float) -> bytes:
    """The first scan's data up to a share of them, and an end marker."""
    start = segments(data)[-1][2]
    return data[: start + int((len(data) - start) * share)].rstrip(b"\xff") + b"\xff\xd9"


def four(mode: str, sampling: str, transform: int | None) -> bytes:
    """Four components: CMYK of the picture in Adobe's convention, or the same coefficients called YCCK."""
    inks = numpy.concatenate([picture(), picture()[:, ::-1, :1] // 2], -1)
    out = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(out, "JPEG", quality=92, optimize=True, progressive=mode == "progressive")
    data = without(out.getvalue(), 0xEE)
    if sampling:
        raise AssertionError("Pillow writes 1x1 only")
    return data if transform is None else after_start(data, adobe(transform))


def jpegs() -> dict[str, bytes | tuple[bytes, str]]:
    """Names and contents; with the words of a refusal where one is expected."""
    files: dict[str, bytes | tuple[bytes, str]] = {}
    for name, sampling in [
        ("444", "1x1"), ("422", "2x1"), ("420", "2x2"), ("440", "1x2"), ("411", "4x1"), ("410", "4x2"),
        ("441", "1x4"), ("442", "2x4"), ("444-21", "2x1,2x1,2x1"), ("444-12", "1x2,1x2,1x2"), ("odd-12-21", "1x2,2x1,2x1"),
        ("odd-21-12", "2x1,1x2,1x2"), ("odd-22-21-12", "2x2,2x1,1x2"), ("odd-22-12", "2x2,1x2,1x2"), ("odd-22-21", "2x2,2x1,2x1"),
        ("odd-21-11-21", "2x1,1x1,2x1"), ("odd-11-21", "1x1,2x1,2x1"), ("odd-11-22", "1x1,2x2,2x2"), ("odd-31", "3x1,1x1,1x1"), ("odd-13", "1x3,1x1,1x1"),
    ]:
        files[f"sampling-{name}"] = jpeg(f"-sample {sampling}")
        if name in ("444", "422", "420", "440", "411", "odd-12-21", "odd-21-12"):
            files[f"sampling-{name}-progressive"] = jpeg(f"-progressive -sample {sampling}")
            files[f"sampling-{name}-scans"] = jpeg(f"-sample {sampling}", script="0;\n1;\n2;\n")
    fractional = bytearray(jpeg("-sample 3x1"))
    fractional[fractional.index(b"\xff\xc0") + 14] = 0x21
    files["sampling-fractional"] = (bytes(fractional), "sampling")
    for width, height in [(1, 1), (2, 2), (3, 3), (7, 8), (8, 7), (9, 9), (16, 16), (17, 15), (31, 18), (32, 17), (5, 33)]:
        files[f"size-{width}x{height}"] = jpeg("-sample 2x2", picture(width, height))
    for width, height in [(1, 9), (4, 4), (5, 3), (6, 2)]:
        for name in ("2x1", "1x2"):
            files[f"size-{width}x{height}-{name}"] = jpeg(f"-sample {name}", picture(width, height))
    files["scans-order"] = jpeg("-sample 2x2", script="2;\n0;\n1;\n")
    files["scans-two"] = jpeg("-sample 2x2", script="0;\n1,2;\n")
    files["scans-two-chroma-first"] = jpeg("-sample 2x1", script="1,2;\n0;\n")
    files["scans-restart"] = jpeg("-sample 2x2 -restart 2B", script="0;\n1;\n2;\n")
    files["restart-1"] = jpeg("-sample 2x2 -restart 1B")
    files["restart-2"] = jpeg("-sample 1x1 -restart 2B")
    files["restart-row"] = jpeg("-sample 2x1 -restart 1")
    files["restart-progressive"] = jpeg("-progressive -sample 2x2 -restart 3B")
    files["quality-5"] = jpeg("-sample 2x2 -quality 5")
    files["quality-100"] = jpeg("-sample 2x2 -quality 100")
    files["quality-2"] = jpeg("-sample 1x1 -quality 2")
    files["tables-16-bit"] = jpeg("-sample 2x2 -quality 1")
    files["grey"] = jpeg("-grayscale")
    files["grey-progressive"] = jpeg("-grayscale -progressive")
    files["grey-restart"] = jpeg("-grayscale -restart 2B")
    files["grey-22"] = jpeg("-grayscale -sample 2x2")
    files["grey-21-progressive"] = jpeg("-grayscale -progressive -sample 2x1")
    files["grey-12-restart"] = jpeg("-grayscale -sample 1x2 -restart 2B")
    simple = jpeg("-sample 2x2")
    bare = without(simple, 0xE0)
    full = without(jpeg("-sample 1x1"), 0xE0)
    for transform in (0, 1, 2, 3):
        files[f"adobe-{transform}"] = after_start(bare, adobe(transform))
        files[f"jfif-adobe-{transform}"] = after_start(bare, JFIF, adobe(transform))
        files[f"adobe-{transform}-jfif"] = after_start(bare, adobe(transform), JFIF)
        files[f"rgb-ids-adobe-{transform}"] = ids(after_start(bare, adobe(transform)), b"RGB")
    files["no-markers"] = bare
    files["short-adobe"] = after_start(bare, segment(0xEE, b"Adobe\0\x64"))
    files["other-app14"] = after_start(bare, segment(0xEE, b"Something else"))
    for name, frame in [("rgb", b"RGB"), ("rgb-small", b"rgb"), ("012", b"\0\1\2"), ("124", b"\1\2\4"), ("1-34-35", b"\x01\x22\x23"), ("321", b"\3\2\1")]:
        files[f"ids-{name}"] = ids(bare, frame)
        files[f"ids-{name}-jfif"] = ids(simple, frame)
    for name, frame, scan in [("213", b"\2\1\3", b"\1\2\3"), ("312", b"\3\1\2", b"\1\2\3"), ("bgr", b"BGR", b"RGB")]:
        # libjpeg refuses them, as the standard asks.
        files[f"order-{name}"] = (ids(full, frame, scan), "order")
    files["rgb"] = jpeg("-rgb")
    files["rgb-progressive"] = jpeg("-rgb -progressive")
    files["rgb-subsampled"] = jpeg("-rgb -sample 2x2")
    partial = "0,1,2: 0-0, 0, 0;\n0: 1-63, 0, 0;\n1: 1-63, 0, 0;\n2: 1-63, 0, 0;\n"
    files["progressive-spectral"] = jpeg("-sample 2x2", script=partial)
    separate = "0: 0-0, 0, 1;\n1: 0-0, 0, 0;\n2: 0-0, 0, 2;\n2: 0-0, 2, 1;\n0: 1-5, 0, 2;\n0: 6-63, 0, 2;\n0: 1-63, 2, 1;\n1: 1-63, 0, 0;\n2: 1-63, 0, 1;\n0: 0-0, 1, 0;\n2: 0-0, 1, 0;\n0: 1-63, 1, 0;\n2: 1-63, 1, 0;\n"
    files["progressive-refined"] = jpeg("-sample 2x2", script=separate)
    files["progressive-refined-restart"] = jpeg("-sample 2x1 -restart 2B", script=separate)
    files["progressive-dc-only"] = (jpeg("-sample 2x2", script="0,1,2: 0-0, 0, 0;\n"), "scans leave")
    coarse = "0,1,2: 0-0, 0, 0;\n0: 1-63, 0, 1;\n1: 1-63, 0, 0;\n2: 1-63, 0, 0;\n"
    files["progressive-unrefined"] = (jpeg("-sample 2x2", script=coarse), "scans leave")
    files["arithmetic"] = (jpeg("-arithmetic"), "arithmetic")
    files["arithmetic-progressive"] = (jpeg("-arithmetic -progressive"), "arithmetic")
    for name, mode, transform in [("cmyk", "", None), ("cmyk-adobe-0", "", 0), ("cmyk-adobe-1", "", 1), ("ycck", "", 2), ("ycck-progressive", "progressive", 2), ("cmyk-progressive", "progressive", 0)]:
        files[name] = four(mode, "", transform)
    files["ycck-jfif"] = after_start(four("", "", 2), JFIF)
    for orientation in range(1, 9):
        files[f"exif-{orientation}"] = with_exif(simple, exif(orientation, "<" if orientation % 2 else ">"))
    files["exif-long"] = with_exif(simple, exif(6, ">", "L"))
    files["exif-9"] = with_exif(simple, exif(9, "<"))
    files["exif-cut"] = with_exif(simple, exif(6, "<")[:12])
    files["exif-two"] = with_exif(with_exif(simple, exif(6, "<")), exif(3, "<"))
    files["exif-behind-xmp"] = after_start(simple, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), segment(0xE1, b"Exif\0\0" + exif(8, "<")))
    files["exif-progressive"] = with_exif(jpeg("-progressive"), exif(6, "<"))
    files["comment"] = after_start(simple, segment(0xFE, b"a comment with \xff\xd9 inside"))
    start = segments(simple)[-1][1]
    files["fill-bytes"] = simple[:start] + b"\xff\xff\xff" + simple[start:]
    files["behind-the-end"] = simple + b"more\xff\xd9\xff\xda"
    files["another-picture-behind"] = simple + jpeg("-grayscale")
    twelve = bytearray(simple)
    frame = next(at for marker, at, _ in segments(simple) if marker in (0xC0, 0xC1))
    twelve[frame + 4] = 12
    files["12-bit"] = (bytes(twelve), "12 bits")
    for marker, name in [(0xC3, "lossless"), (0xC5, "differential"), (0xC9, "arithmetic-frame")]:
        other = bytearray(simple)
        other[frame + 1] = marker
        files[name] = (bytes(other), "arithmetic" if marker == 0xC9 else name)
    for share in (0.02, 0.5, 0.9, 0.97):
        files[f"early-end-{share}"] = (cut_at(jpeg("-sample 2x2"), share), "end")
        files[f"early-end-{share}-grey"] = (cut_at(jpeg("-grayscale"), share), "end")
        files[f"early-end-{share}-progressive"] = (cut_at(jpeg("-progressive"), share), "")
        files[f"early-end-{share}-scans"] = (cut_at(jpeg("", script="0;\n1;\n2;\n"), share), "")
    files["early-end-4-bytes"] = (simple[:-4].rstrip(b"\xff") + b"\xff\xd9", "end")
    restart = jpeg("-sample 2x2 -restart 1B")
    at = restart.index(b"\xff\xd1")
    files["restart-swapped"] = (restart[:at] + b"\xff\xd4" + restart[at + 2 :], "restart")
    files["restart-lost"] = (restart[:at] + restart[at + 2 :], "restart")
    third = restart.index(b"\xff\xd2")
    files["restart-interval-lost"] = (restart[:at] + restart[third:], "restart")
    late = restart.index(b"\xff\xd2")
    files["restart-too-late"] = (restart[: late - 4].rstrip(b"\xff") + restart[late:], "end")
    scans = jpeg("-sample 2x2", script="0;\n1;\n2;\n")
    last = scans.rindex(b"\xff\xda")
    files["scan-lost"] = (scans[: scans.rindex(b"\xff\xc4") if scans.rindex(b"\xff\xc4") > scans.index(b"\xff\xda") else last] + b"\xff\xd9", "no scan")
    return files


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Adam7: first column and row, steps."""


def rows(samples: numpy.ndarray, depth: int) -> bytes:
    """Packed rows with filter 0."""
    out = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        else:
            bits = "".join(f"{int(value):0{depth}b}" for value in row)
            bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
            packed = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        out += b"\0" + packed
    return out


def png_of(samples: numpy.ndarray, colour: int, depth: int, interlaced: bool, extra: bytes = b"") -> bytes:
    """`samples`: [height, width, channels]."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    parts = [samples]
    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in PASSES]
    data = b"".join(rows(part, depth) for part in parts if part.size)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def over_white(colours: numpy.ndarray, alpha: numpy.ndarray) -> numpy.ndarray:
    """Both in [0, 1]."""
    return numpy.rint(255 * (colours * alpha + 1 - alpha)).astype(numpy.uint8)


def pngs() -> dict[str, tuple[bytes, numpy.ndarray | str]]:
    """Names, contents, and the pixels that follow from the samples."""
    files: dict[str, tuple[bytes, numpy.ndarray | str]] = {}
    width, height = 19, 11
    base = picture(width, height).astype(float) / 255
    alpha = numpy.linspace(0, 1, width)[None, :, None] * numpy.ones((height, 1, 1))
    palette = picture(16, 16).reshape(-1, 3)
    for interlaced in (False, True):
        end = "-interlaced" if interlaced else ""
        for depth in (1, 2, 4, 8, 16):
            top = 2**depth - 1
            grey = numpy.rint(base[..., :1] * top)
            values = numpy.repeat(grey / top, 3, -1)
            files[f"grey-{depth}{end}"] = (png_of(grey, 0, depth, interlaced), over_white(values, numpy.ones_like(alpha)))
            key = int(grey[3, 4, 0])
            opaque = (grey != key).astype(float)
            data = png_of(grey, 0, depth, interlaced, chunk(b"tRNS", struct.pack(">H", key)))
            files[f"grey-{depth}-key{end}"] = (data, over_white(values, opaque))
            if depth <= 8:
                y, x = numpy.mgrid[0:height, 0:width]
                index = ((x * 3 + y * 5) % (top + 1))[..., None]
                entries = palette[: top + 1]
                plte = chunk(b"PLTE", entries.tobytes())
                values = entries[index[..., 0]] / 255
                files[f"palette-{depth}{end}"] = (png_of(index, 3, depth, interlaced, plte), over_white(values, numpy.ones_like(alpha)))
                alphas = numpy.array([0, 128, 255])[: top + 1]
                full = numpy.concatenate([alphas, numpy.full(256 - len(alphas), 255)])[index] / 255
                data = png_of(index, 3, depth, interlaced, plte + chunk(b"tRNS", bytes(alphas.astype(numpy.uint8))))
                files[f"palette-{depth}-transparent{end}"] = (data, over_white(values, full))
            if depth >= 8:
                colour = numpy.rint(base * top)
                values = colour / top
                files[f"colour-{depth}{end}"] = (png_of(colour, 2, depth, interlaced), over_white(values, numpy.ones_like(alpha)))
                key = [int(value) for value in colour[2, 5]]
                opaque = (colour != key).any(-1, keepdims=True).astype(float)
                data = png_of(colour, 2, depth, interlaced, chunk(b"tRNS", struct.pack(">3H", *key)))
                files[f"colour-{depth}-key{end}"] = (data, over_white(values, opaque))
                deep = numpy.rint(alpha * top)
                both = numpy.concatenate([colour, deep], -1)
                files[f"colour-alpha-{depth}{end}"] = (png_of(both, 6, depth, interlaced), over_white(values, deep / top))
                both = numpy.concatenate([numpy.rint(base[..., :1] * top), deep], -1)
                values = numpy.repeat(both[..., :1] / top, 3, -1)
                files[f"grey-alpha-{depth}{end}"] = (png_of(both, 4, depth, interlaced), over_white(values, deep / top))
    whole, pixels = files["colour-8"]
    files["no-end-chunk"] = (whole[:-12], "")
    at = whole.index(b"IDAT")
    files["wrong-crc"] = (whole[:-13] + bytes([whole[-13] ^ 1]) + whole[-12:], "")
    wrong = chunk(b"tEXt", b"Title\0x")
    files["wrong-crc-of-text"] = (whole[: at - 4] + wrong[:-1] + bytes([wrong[-1] ^ 1]) + whole[at - 4 :], pixels)
    body = zlib.decompress(whole[at + 4 : -16])
    pieces = [zlib.compress(body)[i : i + 7] for i in range(0, len(zlib.compress(body)), 7)]
    files["many-data-chunks"] = (whole[: at - 4] + b"".join(chunk(b"IDAT", piece) for piece in pieces) + chunk(b"IEND", b""), pixels)
    short = zlib.compress(body[: len(body) // 2])
    files["rows-missing"] = (whole[: at - 4] + chunk(b"IDAT", short) + chunk(b"IEND", b""), "")
    files["unknown-colour-type"] = (whole[:25] + b"\x05" + whole[26:29] + struct.pack(">I", zlib.crc32(whole[12:25] + b"\x05" + whole[26:29])) + whole[33:], "")
    files["exif-6"] = (whole[: at - 4] + chunk(b"eXIf", exif(6, "<")) + whole[at - 4 :], numpy.rot90(pixels, -1))
    return files


def pillow(name: str, data: bytes) -> numpy.ndarray:
    """What Pillow reads: the first frame, upright, over white."""
    try:
        return opened(data)
    except Exception as error:
        raise SystemExit(f"{name}: {error}") from error


def opened(data: bytes) -> numpy.ndarray:
    """The pixels; see `pillow`."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        values = numpy.asarray(image.convert("RGBA")).astype(float) / 255
        return over_white(values[..., :3], values[..., 3:])
    if image.mode.startswith("I;16"):
        return numpy.repeat(numpy.rint(numpy.asarray(image).astype(float) / 257)[..., None], 3, -1).astype(numpy.uint8)
    return numpy.asarray(image.convert("RGB"))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def others() -> dict[str, bytes | tuple[bytes, str]]:
    """WebP, BMP, TIFF, GIF."""
    files: dict[str, bytes | tuple[bytes, str]] = {}
    colour = Image.fromarray(picture())
    faded = colour.convert("RGBA")
    faded.putalpha(Image.linear_gradient("L").resize((W, H)))
    grey, few = colour.convert("L"), colour.quantize(13)
    files["lossy.webp"] = saved(colour, "WEBP", quality=80, method=6)
    files["lossy-small.webp"] = saved(Image.fromarray(picture(5, 3)), "WEBP", quality=60)
    files["lossless.webp"] = saved(colour, "WEBP", lossless=True)
    files["alpha.webp"] = saved(faded, "WEBP", quality=90)
    files["alpha-lossless.webp"] = saved(faded, "WEBP", lossless=True, exact=True)
    files["moving.webp"] = saved(colour, "WEBP", lossless=True, save_all=True, append_images=[ImageOps.flip(colour)])
    files["exif.webp"] = saved(colour, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6, "<"))
    files["colour.bmp"] = saved(colour, "BMP")
    files["alpha.bmp"] = saved(faded, "BMP")
    files["grey.bmp"] = saved(grey, "BMP")
    files["palette.bmp"] = saved(few, "BMP")
    files["bits.bmp"] = saved(colour.convert("1"), "BMP")
    files["colour.gif"] = saved(few, "GIF")
    files["interlaced.gif"] = saved(few, "GIF", interlace=1)
    files["grey.gif"] = saved(grey, "GIF")
    files["transparent.gif"] = saved(few, "GIF", transparency=int(numpy.asarray(few)[4, 4]))
    files["moving.gif"] = saved(few, "GIF", save_all=True, append_images=[ImageOps.flip(few), ImageOps.mirror(few)])
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        files[f"{compression}.tif"] = saved(colour, "TIFF", compression=compression)
    files["jpeg.tif"] = (saved(colour, "TIFF", compression="jpeg"), "JPEG inside")
    files["grey.tif"] = saved(grey, "TIFF")
    files["bits.tif"] = saved(colour.convert("1"), "TIFF")
    files["palette.tif"] = (saved(few, "TIFF", compression="tiff_lzw"), "Palette")
    files["alpha.tif"] = saved(faded, "TIFF", compression="tiff_lzw")
    files["cmyk.tif"] = saved(colour.convert("CMYK"), "TIFF", compression="tiff_lzw")
    deep = numpy.asarray(grey).astype(numpy.uint16) * 257
    files["grey-16.tif"] = saved(Image.fromarray(deep), "TIFF")
    files["exif.tif"] = saved(colour, "TIFF", tiffinfo={0x0112: 6})
    files["pages.tif"] = saved(colour, "TIFF", save_all=True, append_images=[grey])
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to, for example tests/tests/data/pixels")
    arguments = parser.parse_args()
    table: list[tuple[str, bytes, numpy.ndarray | str]] = []
    for name, made in jpegs().items():
        data, expected = made if isinstance(made, tuple) else (made, None)
        table.append((f"{name}.jpg", data, pillow(name, data) if expected is None else expected))
    for name, (data, expected) in pngs().items():
        # Pillow cuts 16 bits to 8, and compares a key with samples that it has already scaled;
        # it refuses a wrong checksum of any chunk.
        if not isinstance(expected, str) and "16" not in name and name[:6] not in ("grey-2", "grey-4", "wrong-"):
            off = numpy.abs(pillow(name, data).astype(int) - expected).max()
            assert off <= 1, f"{name}: Pillow differs from the samples by {off}"
        table.append((f"{name}.png", data, expected))
    for name, made in others().items():
        data, expected = made if isinstance(made, tuple) else (made, None)
        table.append((name, data, pillow(name, data) if expected is None else expected))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for old in [*arguments.out.glob("*.*")]:
        if old.suffix != ".rs":
            old.unlink()
    lines = ["file\twidth\theight\texpected"]
    pictures = [pixels for _, _, pixels in table if not isinstance(pixels, str)]
    widest = max(pixels.shape[1] for pixels in pictures)
    atlas = numpy.concatenate([numpy.pad(pixels, ((0, 0), (0, widest - pixels.shape[1]), (0, 0))) for pixels in pictures])
    blob = b""
    for name, data, expected in table:
        blob += data
        if isinstance(expected, str):
            lines.append(f"{name}\t{len(data)}\t0\t0\t{expected or '-'}")
        else:
            lines.append(f"{name}\t{len(data)}\t{expected.shape[1]}\t{expected.shape[0]}\tpixels")
    lines[0] = "file\tbytes\twidth\theight\texpected"
    (arguments.out / "files.bin").write_bytes(blob)
    (arguments.out / "index.tsv").write_text("\n".join(lines) + "\n")
    Image.fromarray(atlas).save(arguments.out / "expected.png", optimize=True)
    total = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{len(table)} files, {total} bytes in all")


if __name__ == "__main__":
    main()
