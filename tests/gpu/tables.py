"""Markdown tables of a campaign's results.

`python3 tables.py results.json` prints them again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Object = dict[str, Any]

BYTES_PER_S = 4.3e12
"""What a copy on an H200 moves, bytes read and written."""
FLOPS_PER_S = {"f32": 67e12, "tf32": 495e12, "bf16": 990e12}
"""Peak of the unit that computes in the precision, dense, by the vendor's data sheet of the H100 and H200."""
WORST = 5

GRADIENT_GOALS = (1.5, 1.0)
"""Over PyTorch's eager one: at first contact, and after."""
PRODUCT_GOAL = 2.0
"""Gradients."""
ALTERNATION_GOAL = 0.35
"""Of the published algorithm in PyTorch."""

HASHED = ("gradient", "hessian_product", "gauss_newton_product")
"""Whose bits are compared."""

SAME = ("network", "size", "batch", "upper_batch", "steps", "damping", "proximity")
"""What our alternation and PyTorch's must have in common."""


def succeeded(outcome: Object) -> bool:
    """Whether it was measured, or knowingly left out."""
    return outcome["error"] is None or outcome.get("left_out", False)


def number(value: Any, form: str = ".3g") -> str:
    """A figure, or a dash where there is none."""
    return format(value, form) if isinstance(value, int | float) else "-"


def ms(seconds: Any) -> str:
    """Milliseconds."""
    return number(seconds * 1e3 if seconds is not None else None, ".4g")


def spread(value: Any) -> str:
    """Smallest and largest over the median."""
    return f"{value[0]:.2f} to {value[1]:.2f}" if value else "-"


def text(value: Any) -> str:
    """Within a cell, on one line."""
    return " ".join(str(value).split()).replace("|", "\\|")


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; a sentence where it would have no rows."""
    header = list(header)
    lines = ["| " + " | ".join(map(text, row)) + " |" for row in rows]
    if not lines:
        return "Nothing was measured.\n"
    return "\n".join(["| " + " | ".join(header) + " |", "|" + " --- |" * len(header), *lines]) + "\n"


def part(results: list[Object], name: str) -> list[Object]:
    """The outcomes of one part."""
    return [outcome for outcome in results if outcome["part"] == name]


def goal(found: float | None, most: float) -> str:
    """Whether a goal was met."""
    if found is None:
        return "not measured"
    return "met" if found <= most else "missed"


def quotient(a: Any, b: Any) -> float | None:
    """a/b, where there are both."""
    return a / b if isinstance(a, int | float) and isinstance(b, int | float) and b else None


def failures(results: list[Object]) -> str:
    """What failed, overran or was left out."""
    rows = [
        (outcome["part"], outcome["name"], "left out" if succeeded(outcome) else "FAILED", outcome["error"])
        for outcome in results
        if outcome["error"] is not None
    ]
    return table(("part", "measurement", "", "why"), rows) if rows else "None.\n"


def verify(results: list[Object]) -> str:
    """Errors of every check, a column for each precision."""
    reports = {o["precision"]: o["objects"][-1] for o in part(results, "verify") if o["objects"]}
    names: list[str] = []
    cells: dict[tuple[str, str], str] = {}
    for precision, report in reports.items():
        for check in report["checks"]:
            name = f"{check['group']}: {check['name']}"
            if name not in names:
                names.append(name)
            verdict = "" if check["ok"] else " FAILED"
            error = check["error"]
            # JSON has no NaN; a check without a number fails.
            shown = "none" if error is None else f"{error:.1e}"
            cells[name, precision] = f"{shown} (at most {check['bound']:.1e}){verdict}"
    rows = [[name, *(cells.get((name, precision), "-") for precision in reports)] for name in names]
    said = "".join(
        f"- {precision}: {len(report['checks']) - report['failed']} of {len(report['checks'])} checks passed"
        + "".join(f"; left out: {reason}" for reason in report["left_out"])
        + "\n"
        for precision, report in reports.items()
    )
    return table(("check", *reports), rows) + "\n" + said


def step_rows(results: list[Object]) -> list[Object]:
    """One for each network, precision and side, with the same names for both sides."""
    rows = []
    for outcome in part(results, "step"):
        for found in outcome["objects"]:
            row = {**found, "network": outcome["network"], "side": outcome["side"], "shape": found["network"]}
            row["precision"] = outcome.get("precision") or found["precision"]
            if outcome["side"] == "bissl":
                row["layout"] = "-"
                for kind in ("hessian", "gauss_newton"):
                    row[f"{kind}_product_s"] = found[f"{kind}_product_over_gradient"] * found["gradient_s"]
            rows.append(row)
    return rows


def steps(results: list[Object]) -> str:
    """Times beside PyTorch's, then the goals."""
    rows = step_rows(results)
    order = {key: index for index, key in enumerate(dict.fromkeys((r["network"], r["precision"]) for r in rows))}
    rows.sort(key=lambda row: order[row["network"], row["precision"]])
    header = ("network", "precision", "", "layout", "gradient ms", "spread")
    for kind in ("Hessian", "Gauss-Newton"):
        header += (f"{kind} linearisation ms", "product ms", "spread", "gradients")
    header += ("Hessian product, all anew ms", "gradients", "")
    shown = []
    for row in rows:
        cells = [row["network"], row["precision"], row["side"], row.get("layout", "-")]
        cells += [ms(row.get("gradient_s")), spread(row.get("gradient_spread"))]
        for kind in ("hessian", "gauss_newton"):
            product = row.get(f"{kind}_product_s")
            cells += [ms(row.get(f"{kind}_linearization_s")), ms(product), spread(row.get(f"{kind}_product_spread"))]
            cells.append(number(quotient(product, row.get("gradient_s")), ".2f"))
        rebuilt = row.get("hessian_rebuilt_s")
        cells += [ms(rebuilt), number(quotient(rebuilt, row.get("gradient_s")), ".2f"), row.get("error", "")]
        shown.append(cells)
    return table(header, shown) + "\n" + step_goals(rows)


def step_goals(rows: list[Object]) -> str:
    """Gradient over PyTorch's, product over gradient."""

    def figure(key: tuple[str, str], side: str, name: str) -> Any:
        return next((r.get(name) for r in rows if (r["network"], r["precision"]) == key and r["side"] == side), None)

    first, after = GRADIENT_GOALS
    shown = []
    for key in dict.fromkeys((row["network"], row["precision"]) for row in rows):
        ours = figure(key, "bissl", "gradient_s")
        eager = quotient(ours, figure(key, "PyTorch eager", "gradient_s"))
        compiled = quotient(ours, figure(key, "PyTorch compiled", "gradient_s"))
        product = figure(key, "bissl", "hessian_product_over_gradient")
        theirs = figure(key, "PyTorch eager", "hessian_product_s")
        over = quotient(figure(key, "bissl", "hessian_product_s"), theirs)
        verdicts = (goal(eager, first), goal(eager, after), number(compiled), number(product))
        shown.append([*key, number(eager), *verdicts, goal(product, PRODUCT_GOAL), number(over)])
    header = ("network", "precision", "gradient over eager", f"<= {first} at first contact", f"<= {after} after")
    header += ("gradient over compiled", "Hessian product, gradients", f"<= {PRODUCT_GOAL}", "product over eager's")
    return table(header, shown) + unequal(rows)


def unequal(rows: list[Object]) -> str:
    """What PyTorch did not measure as we did."""
    said = ""
    for row in rows:
        for other in rows:
            same = row["network"] == other["network"] and row["side"] == "bissl"
            for key in ("shape", "size", "batch") if same else ():
                if row[key] != other[key]:
                    where = f"{row['network']}, {other['side']}"
                    said += f"\nNot the same: {key}, {row[key]} and {other[key]} ({where}).\n"
    return said


def launches(share: Object) -> int | None:
    """Of all calls of one kernel; the program counts them on a device, and tells 0 or nothing elsewhere."""
    return share.get("launches") or None


def floor_s(share: Object, precision: str) -> float | None:
    """What the bytes and the operations of all its calls take at least, seconds."""
    flops = share.get("flops") or None
    if flops is None and share.get("gflops") is not None:
        flops = share["gflops"] * 1e9 * share["seconds"]
    least = (quotient(share.get("bytes"), BYTES_PER_S), quotient(flops, FLOPS_PER_S[precision]))
    return max((value for value in least if value), default=None)


def roofline(results: list[Object]) -> str:
    """Launches, and where most time is lost: the kernels with the largest difference to their floor."""
    sections = []
    for row in (row for row in step_rows(results) if row["side"] == "bissl"):
        for work in ("gradient", "hessian_product"):
            shares = row.get(f"{work}_profile") or []
            kernels = [share for share in shares if share["kernel"] != "no kernel"]
            name = f"{row['network']}, {row['precision']}, one {work.replace('_', ' ').replace('hessian', 'Hessian')}"
            if not kernels:
                sections.append(f"**{name}**: the program told no kernels.\n")
                continue
            known = [launches(share) for share in kernels]
            total = sum(known) if None not in known else None
            calls = sum(share["calls"] for share in kernels)
            seconds = sum(share["seconds"] for share in shares)
            outside = seconds - sum(share["seconds"] for share in kernels)
            said = f"**{name}**: {number(total, 'd')} launches in {calls} calls; "
            said += f"{ms(seconds)} ms, outside kernels {ms(outside)} ms\n"
            floors = [(share, floor_s(share, row["precision"])) for share in kernels]
            floors.sort(key=lambda pair: pair[0]["seconds"] - (pair[1] or 0.0), reverse=True)
            shown = []
            for share, least in floors[:WORST]:
                kernel = f"{share['kernel']} {share.get('shape') or ''}".strip()
                cells = [kernel, share["calls"], number(launches(share), "d"), ms(share["seconds"])]
                cells += [number(share.get("flops") or None), number(share.get("bytes") or None), ms(least)]
                shown.append([*cells, number(quotient(share["seconds"], least), ".1f")])
            header = ("kernel", "calls", "launches", "ms", "flops", "bytes", "floor ms", "times its floor")
            sections.append(said + "\n" + table(header, shown))
    return "\n".join(sections) or "Nothing was measured.\n"


def alternation(results: list[Object]) -> str:
    """Ours, the published algorithm on our kernels, and in PyTorch."""
    found = {outcome["name"]: outcome["objects"][-1] for outcome in part(results, "alternation") if outcome["objects"]}
    ours, theirs = found.get("bissl"), found.get("PyTorch")
    rows = []
    if ours:
        for name, side in (("bissl", ours["ours"]), ("published algorithm on bissl's kernels", ours["reference"])):
            cells = [name, number(side["alternation_s"], ".4g"), "-"]
            cells += [ms(side[key]) for key in ("lower_s", "linearization_s", "products_s", "upper_s", "vectors_s")]
            rows.append([*cells, sum(side["products"]), number(side["correction_missed_max"])])
    if theirs:
        middle = theirs["alternation_s"]
        runs = [run / middle for run in theirs["alternation_runs_s"]]
        cells = ["published algorithm in PyTorch", number(middle, ".4g"), spread([min(runs), max(runs)])]
        cells += [ms(theirs["lower_s"]), "-", ms(theirs["products_s"]), ms(theirs["upper_gradients_s"])]
        rows.append([*cells, ms(theirs["solver_vectors_s"]), theirs["products"], "-"])
    header = ("", "alternation s", "spread", "lower ms", "linearisation ms", "products ms", "upper gradients ms")
    said = table((*header, "vectors ms", "products", "correction missed, max"), rows)
    if ours and theirs:
        unequal = [key for key in SAME if key in ours and key in theirs and ours[key] != theirs[key]]
        ratio = None if unequal else quotient(ours["alternation_s"], theirs["alternation_s"])
        verdict = goal(ratio, ALTERNATION_GOAL)
        said += f"\nOver PyTorch's: {number(ratio)}; goal at most {ALTERNATION_GOAL}: {verdict}.\n"
        said += "".join(f"Not the same in both: {key}, {ours[key]} and {theirs[key]}.\n" for key in unequal)
    if ours:
        said += f"\nOver the published algorithm on the same kernels: {ours['time_ratio']:.3g}.\n"
    return said


def images(results: list[Object]) -> str:
    """Images a second of pretraining; each is seen in two views."""
    rows = [
        (o["name"], o["network"], o["precision"], o["images"], o["batch"], number(o.get("images_per_s"), ".5g"))
        for o in part(results, "images")
    ]
    return table(("images", "network", "precision", "number", "batch", "images a second"), rows)


def distinct(found: Object) -> str | None:
    """What is wrong with the results of the same step; None where they are the same."""
    if missing := [kind for kind in HASHED if f"{kind}_hashes" not in found]:
        return f"the program told no hashes of {', '.join(missing)}"
    counts = {kind: len(set(found[f"{kind}_hashes"])) for kind in HASHED}
    different = [f"{count} of {kind.replace('_', ' ')}" for kind, count in counts.items() if count != 1]
    return f"different results of the same step: {', '.join(different)}" if different else None


def hashes(results: list[Object]) -> str:
    """Distinct results of equal work, within and between processes."""
    seen: dict[tuple[str, str], list[Object]] = {}
    for outcome in [*part(results, "step"), *part(results, "hashes")]:
        for found in outcome["objects"]:
            if "gradient_hashes" in found:
                seen.setdefault((outcome["network"], outcome["precision"]), []).append(found)
    rows = []
    for key, processes in seen.items():
        bits = [[value for found in processes for value in found[f"{kind}_hashes"]] for kind in HASHED]
        rows.append([*key, len(processes), len(bits[0]), *(len(set(values)) for values in bits)])
    header = ("network", "precision", "processes", "repetitions", "distinct gradients", "distinct Hessian products")
    return table((*header, "distinct Gauss-Newton products"), rows)


def heading(everything: Object) -> str:
    """What was measured with what."""
    results = everything["results"]
    versions = {found["torch"] for outcome in results for found in outcome["objects"] if "torch" in found}
    size, most = everything["binary_mib"], everything["binary_mib_max"]
    weight = f"{number(size, '.1f')} MiB (at most {most} to be carried)"
    lines = [
        f"began {everything['began']}, load {everything['load']:.2f}",
        f"GPU: {everything['gpu'] or 'nvidia-smi told none'}",
        f"processor: {everything['processor']}, {everything['cores']} cores",
        f"program: {everything['binary_version'] or 'it could not be run'}, {weight}, backend {everything['backend']}",
        f"PyTorch: {', '.join(sorted(versions)) or 'told nothing'}; Python {everything['python']}",
        f"measurements: {sum(map(succeeded, results))} of {len(results)} without failure, "
        f"{sum(outcome['seconds'] for outcome in results):.0f} s",
    ]
    said = "# GPU campaign\n\n"
    if everything["dry_run"]:
        said += "**Dry run: a toy network, and no GPU. No time here means anything.**\n\n"
    return said + "".join(f"- {line}\n" for line in lines)


def report(everything: Object) -> tuple[str, bool]:
    """The whole document, and whether every table could be made: a program of another day may print other figures."""
    results = everything["results"]
    peaks = ", ".join(f"{value / 1e12:.0f} in {name}" for name, value in FLOPS_PER_S.items())
    sections = (
        ("What failed or was left out", "", failures),
        ("Errors", "`bissl verify`: relative errors, with the largest that passes.", verify),
        (
            "A step beside PyTorch",
            "Medians; spread is smallest and largest over the median. A product is one from a linearisation that is "
            "kept; PyTorch can compute it anew as well, as the published code does.",
            steps,
        ),
        (
            "Kernels",
            f"The {WORST} that lose most time. Floor: the larger of bytes over {BYTES_PER_S / 1e12:.1f} TB/s and "
            f"operations over the peak (TFLOP/s: {peaks}).",
            roofline,
        ),
        ("An alternation", "", alternation),
        (
            "Images a second",
            "A short pretraining from files, by the steps that it had recorded; reading, augmenting and both views "
            "included, start and first steps not.",
            images,
        ),
        ("The same bits", "Different results of the same step, which should be 1.", hashes),
    )
    said, whole = heading(everything), True
    for title, about, make in sections:
        said += f"\n## {title}\n\n" + (f"{about}\n\n" if about else "")
        try:
            said += make(results)
        except (KeyError, TypeError, ValueError) as error:
            whole = False
            said += f"**This table could not be made: {type(error).__name__} {error}.** results.json has the figures.\n"
    return said, whole


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text()))[0], end="")
