"""Runs bissl's benchmark and the PyTorch peer in pairs and prints the ratios of their times. See README.md.

The two of a pair run one after the other, and each pair begins with the one that the last pair ended
with, so that a machine that slows down or speeds up does not favour one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

from meter import Result, write

HERE = Path(__file__).parent

RATIOS = {
    "stage": ["alternation_s", "reference_alternation_s=alternation_s"],
    "data": ["images_per_s", "decode_s", "crop_s", "colour_s", "blur_s"],
    "step": ["gradient_s", "forward_s", "hessian_product_over_gradient=product_rebuilt_over_gradient"],
}
"""Compared by default, for each `bissl bench` command: OURS=THEIRS, or one name for both."""

SAME = ("network", "images", "views", "size", "batch", "upper_batch", "threads", "steps", "damping", "proximity")
"""What both must have in common, where both tell it."""


def last_object(text: str, command: str) -> Result:
    """The last JSON object of `text` that begins a line."""
    decoder, found, position = json.JSONDecoder(), None, 0
    while position < len(text):
        if text.startswith("{", position) and (position == 0 or text[position - 1] == "\n"):
            try:
                found, position = decoder.raw_decode(text, position)
                continue
            except json.JSONDecodeError:
                pass
        position += 1
    if not isinstance(found, dict):
        raise SystemExit(f"`{command}`: found no JSON object in what it printed, expected one (is --json missing?)")
    return found


def run(command: list[str]) -> Result:
    """The object that `command` prints; its other output is shown."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}, expected a program") from error
    if done.returncode != 0:
        raise SystemExit(f"`{shlex.join(command)}`: found exit status {done.returncode}, expected 0")
    return last_object(done.stdout, shlex.join(command))


def refuse_unequal(ours: Result, theirs: Result) -> None:
    """Ends the program where the two did not measure the same."""
    for key in SAME:
        if key in ours and key in theirs and ours[key] != theirs[key]:
            found = f"{ours[key]} in bissl and {theirs[key]} in PyTorch"
            raise SystemExit(f"{key}: found {found}, expected the same in both")


def quotient(names: str, ours: Result, theirs: Result) -> tuple[float, float, float]:
    """Our figure, theirs, and ours over theirs; `names` is OURS=THEIRS or one name for both."""
    own, _, other = names.partition("=")
    values = []
    for whose, result, name in (("bissl", ours, own), ("PyTorch", theirs, other or own)):
        value = result.get(name)
        if not isinstance(value, int | float) or not value > 0:
            raise SystemExit(f"{name}: found {value} in {whose}'s object, expected a number above 0")
        values.append(float(value))
    return values[0], values[1], values[0] / values[1]


def summary(values: list[float]) -> Result:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/bissl", help="the bissl program")
    parser.add_argument("--bench", required=True, metavar="ARGUMENTS", help="of `bissl bench`, in one string")
    parser.add_argument("--peer", required=True, metavar="ARGUMENTS", help="of published.py, or data and those of data.py, in one string")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument(
        "--ratio", action="append", metavar="OURS[=THEIRS]", help="figures to compare; may be given repeatedly"
    )
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="one object, to FILE or printed")
    arguments = parser.parse_args()
    if arguments.pairs < 1:
        parser.error(f"--pairs: found {arguments.pairs}, expected at least 1")
    arguments.bench, arguments.peer = shlex.split(arguments.bench), shlex.split(arguments.peer)
    if not arguments.bench or not arguments.peer:
        parser.error("--bench, --peer: found an empty string, expected a command and its flags")
    return arguments


def with_json(command: list[str]) -> list[str]:
    """The command with `--json`, once."""
    return command if "--json" in command else [*command, "--json"]


def main() -> None:
    """Runs the pairs and prints each ratio, its median and its range."""
    arguments = parse()
    bench = with_json([arguments.binary, "bench", *arguments.bench])
    script, *rest = arguments.peer if arguments.peer[0] == "data" else ["published", *arguments.peer]
    peer = with_json([sys.executable, str(HERE / f"{script}.py"), *rest])
    names = arguments.ratio or RATIOS.get(arguments.bench[0], ["alternation_s"])
    ratios: dict[str, list[float]] = {name: [] for name in names}
    pairs = []
    for index in range(arguments.pairs):
        load = os.getloadavg()[0]
        order = [bench, peer] if index % 2 == 0 else [peer, bench]
        results = [run(command) for command in order]
        ours, theirs = results if index % 2 == 0 else reversed(results)
        refuse_unequal(ours, theirs)
        for name in names:
            own, other, ratio = quotient(name, ours, theirs)
            ratios[name].append(ratio)
            print(f"pair {index + 1}  load {load:.2f}  {name}: {own:.6g} / {other:.6g} = {ratio:.3f}", file=sys.stderr)
        pairs.append({"load": load, "bissl": ours, "torch": theirs})
    summaries = {name: summary(values) for name, values in ratios.items()}
    if arguments.json is not None:
        write({"measurement": "pairs", "ratios": summaries, "pairs": pairs}, arguments.json)
        return
    for name, of in summaries.items():
        print(f"{name}: median {of['median']:.3f}, {of['min']:.3f} to {of['max']:.3f}, {arguments.pairs} pairs")


if __name__ == "__main__":
    main()
