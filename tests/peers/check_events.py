"""Reads the event file of a run with TensorBoard's own package and compares it with metrics.jsonl.

    python tests/peers/check_events.py RUN        # needs `pip install tensorboard`
"""

import json
import pathlib
import struct
import sys

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def numbers(path, value):
    """Every number below `value` but those that count steps, with its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("index", "epoch"):
                yield from numbers(f"{path}/{name}", inner)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def expected(run):
    """Tag to list of (step, value), from metrics.jsonl."""
    tags = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        prefix = f"{record['stage']}/{record['kind']}"
        step = record.get("index", record.get("epoch", 0))
        found = [(f"{prefix}/{record['name']}", record["value"])] if record["kind"] == "result" else numbers(prefix, record)
        for tag, value in found:
            single = struct.unpack("f", struct.pack("f", value))[0]
            tags.setdefault(tag, []).append((step, single))
    return tags


def main():
    run = pathlib.Path(sys.argv[1])
    events = EventAccumulator(str(run), size_guidance={SCALARS: 0})
    events.Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    wanted = expected(run)
    if found != wanted:
        wrong = [tag for tag in found.keys() | wanted.keys() if found.get(tag) != wanted.get(tag)]
        sys.exit(f"{run}: tags that differ: {sorted(wrong)}")
    values = sum(len(points) for points in found.values())
    print(f"tensorboard {tensorboard.__version__}: {len(found)} tags, {values} values, all as in metrics.jsonl")


main()
