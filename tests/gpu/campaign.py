"""The GPU campaign: what is measured, in which order, within which time. `run` says how it is called.

The most valuable measurement comes first, since a campaign may be cut short. Whatever fails or overruns is a row that
says so, and the next measurement follows. Nothing but Python's standard library here; PyTorch runs in processes of its
own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pictures
import tables
from runner import Job, Object, Runner, stop

HERE = Path(__file__).parent
PRECISIONS = ("f32", "tf32", "bf16")
BINARY_MIB_MAX = 60
"""What a binary may weigh to be carried to a machine that nothing can be fetched on."""


@dataclass(frozen=True)
class Network:
    """What a step is measured on."""

    name: str
    architecture: str
    width: int
    stem: str
    size: int
    batch: int

    def flags(self) -> list[str]:
        """As `bissl` and the scripts of tests/peers name them, without the size of the images."""
        return ["--architecture", self.architecture, "--width", str(self.width), "--stem", self.stem]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    minutes: float
    networks: tuple[Network, ...]
    """The first one also in every other part."""
    repeats: int
    torch_compiler: str
    """The one of a dry run generates no code, which would take it a minute."""
    torch_threads: int
    """Of PyTorch; two that wait for each other spin, which a machine with other work on it does not bear."""
    hash_repeats: int
    """In a process of their own: what is chosen by time may differ from that of the timed one."""
    verify_batch: int
    stage_batch: int
    stage_upper_batch: int
    stage_steps: tuple[int, int]
    stage_pretrain_steps: int
    torch_alternations: int
    images: tuple[int, int]
    """Raw ones for the first network, PNG files for the last."""
    png_side: int
    epochs: int
    steps_left_out: int
    """Of pretraining, before its clock starts."""


FULL = Size(
    minutes=8.8,
    networks=(
        Network("ResNet-18, 32 px", "resnet18", 64, "small", 32, 512),
        Network("ResNet-50, 96 px", "resnet50", 64, "imagenet", 96, 256),
    ),
    repeats=5,
    torch_compiler="inductor",
    torch_threads=8,
    hash_repeats=20,
    verify_batch=64,
    stage_batch=128,
    stage_upper_batch=32,
    stage_steps=(20, 8),
    stage_pretrain_steps=100,
    torch_alternations=3,
    images=(20_480, 2_048),
    png_side=160,
    epochs=3,
    steps_left_out=3,
)

DRY = Size(
    minutes=1.9,
    networks=(Network("toy, 16 px", "resnet-small", 4, "small", 16, 4),),
    repeats=2,
    torch_compiler="aot_eager",
    torch_threads=1,
    hash_repeats=2,
    verify_batch=4,
    stage_batch=4,
    stage_upper_batch=4,
    stage_steps=(2, 1),
    stage_pretrain_steps=2,
    torch_alternations=2,
    images=(24, 24),
    png_side=24,
    epochs=3,
    steps_left_out=1,
)


class Lines:
    """When a file that a command appends to had how many lines; the command's own clock is not asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[tuple[float, int]] = []
        self.bytes = 0

    def look(self) -> None:
        """Notes the time where lines were added."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.bytes)
                added = file.read()
        except FileNotFoundError:
            return
        if lines := added.count(b"\n"):
            self.bytes += added.rindex(b"\n") + 1
            before = self.seen[-1][1] if self.seen else 0
            self.seen.append((time.monotonic(), before + lines))

    def per_second(self, left_out: int) -> float | None:
        """Lines a second, the first ones left out; None where there were too few."""
        self.look()
        counted = [(at, lines) for at, lines in self.seen if lines >= left_out]
        if len(counted) < 2:
            return None
        (began, first), (ended, last) = counted[0], counted[-1]
        return (last - first) / (ended - began)


class Campaign:
    """The jobs of a campaign, in their order."""

    def __init__(self, arguments: argparse.Namespace, runner: Runner, scratch: Path) -> None:
        self.arguments = arguments
        self.size = DRY if arguments.dry_run else FULL
        self.runner = runner
        self.scratch = scratch
        self.device = "cuda" if arguments.backend == "cuda" else "cpu"
        self.with_torch = importlib.util.find_spec("torch") is not None
        self.results: list[Object] = []
        self.steps = offered(arguments.binary, "bench", "step")

    def bissl(self, *words: str, precision: str | None = None) -> list[str]:
        """A call of the program; f32 is what it computes in unless told."""
        flags = ["--precision", precision] if precision not in (None, "f32") else []
        return [self.arguments.binary, *words, "--backend", self.arguments.backend, *flags]

    def torch(self, script: str, *words: str) -> list[str]:
        """A call of a script that needs PyTorch."""
        return [sys.executable, str(HERE / script), *words, "--device", self.device]

    def jobs(self) -> Iterator[Job]:
        """All of them, the most valuable first."""
        first, *others = self.size.networks
        chosen = self.arguments.precisions
        lead = chosen[0]
        yield from map(self.verify, chosen)
        yield self.step(first, lead)
        yield self.torch_step(first, 75)
        yield from (self.step(first, precision) for precision in chosen[1:])
        yield self.hashes(first, lead)
        for network in others:
            yield self.step(network, lead)
            yield self.torch_step(network, 90)
            yield from (self.step(network, precision) for precision in chosen[1:])
        yield self.stage(first)
        yield self.torch_stage(first)
        yield self.raw_images(first)
        yield self.png_images(self.size.networks[-1])
        yield from (self.torch_step(network, 90, compiled=True) for network in self.size.networks)

    def verify(self, precision: str) -> Job:
        """Conformance and oracle errors."""
        network, batch = self.size.networks[0], self.size.verify_batch
        command = [*self.bissl("verify", precision=precision), "--json", "--quiet", *network.flags()]
        command += ["--image-size", str(network.size), "--batch", str(batch), "--upper-batch", str(batch)]
        command += ["--labels-per-class", "20"]
        return Job("verify", precision, command, 75, {"precision": precision})

    def step_command(self, network: Network, precision: str, repeats: int) -> list[str]:
        """Gradient and products of our own."""
        command = [*self.bissl("bench", "step", precision=precision), "--json", "--quiet", *network.flags()]
        command += ["--image-size", str(network.size), "--batch", str(network.batch), "--repeats", str(repeats)]
        return command

    def step(self, network: Network, precision: str) -> Job:
        """Times of our own, with a profile; a program that always profiles has no flag for it."""
        command = self.step_command(network, precision, self.size.repeats)
        command += ["--profile"] if "--profile" in self.steps else []
        about = {"precision": precision, "network": network.name, "side": "bissl"}
        return Job("step", f"{network.name}, {precision}, bissl", command, 75, about)

    def torch_step(self, network: Network, limit_s: float, *, compiled: bool = False) -> Job:
        """PyTorch's times in every precision, one process."""
        command = [*self.torch("torch_step.py"), *network.flags(), "--size", str(network.size)]
        command += ["--batch", str(network.batch), "--repeats", str(self.size.repeats)]
        command += ["--precisions", ",".join(self.arguments.precisions), "--threads", str(self.size.torch_threads)]
        if compiled:
            command += ["--compiled", "--compiler", self.size.torch_compiler]
            command += ["--compiled-products"] if self.arguments.compiled_products else []
            limit_s *= 10 if self.arguments.compiled_products else 1
        side = "PyTorch compiled" if compiled else "PyTorch eager"
        about = {"network": network.name, "side": side, "torch": True}
        return Job("step", f"{network.name}, {side}", command, limit_s, about)

    def hashes(self, network: Network, precision: str) -> Job:
        """The same step again and again."""
        command = self.step_command(network, precision, self.size.hash_repeats)
        about = {"precision": precision, "network": network.name}
        return Job("hashes", f"{network.name}, {precision}", command, 60, about)

    def stage_flags(self, network: Network) -> list[str]:
        """What both alternations are told."""
        lower, upper = self.size.stage_steps
        return [
            *network.flags(),
            *("--batch", str(self.size.stage_batch), "--upper-batch", str(self.size.stage_upper_batch)),
            *("--lower-steps", str(lower), "--upper-steps", str(upper), "--damping", "10"),
        ]

    def stage(self, network: Network) -> Job:
        """Our alternation, and the published algorithm on our kernels."""
        precision = self.arguments.precisions[0]
        command = [*self.bissl("bench", "stage", precision=precision), "--json", "--quiet"]
        command += [*self.stage_flags(network), "--image-size", str(network.size)]
        command += ["--pretrain-steps", str(self.size.stage_pretrain_steps)]
        return Job("alternation", "bissl", command, 100, {"precision": precision})

    def torch_stage(self, network: Network) -> Job:
        """The published algorithm in PyTorch."""
        precision = self.arguments.precisions[0]
        command = [*self.torch("../peers/published.py", "alternation"), "--json", "--warmup"]
        command += [*self.stage_flags(network), "--size", str(network.size)]
        command += ["--precision", "fp32" if precision == "f32" else precision]
        command += ["--alternations", str(self.size.torch_alternations)]
        command += ["--threads", str(self.size.torch_threads)]
        return Job("alternation", "PyTorch", command, 60, {"precision": precision, "torch": True})

    def pretrain(self, network: Network, name: str, data: Path, images: int) -> Job:
        """A short pretraining, timed by the lines of its metrics: one for each step."""
        run = data.with_suffix(".run")
        batch = min(network.batch, images // 8)
        precision = self.arguments.precisions[-1]
        command = [*self.bissl("pretrain", precision=precision), "--quiet", *network.flags()]
        command += ["--image-size", str(network.size), "--pretext", str(data), "--out", str(run)]
        command += ["--batch", str(batch), "--epochs", str(self.size.epochs), "--learning-rate", "0.1"]
        command += ["--set", "pretrain.warm_up_epochs=0"]
        lines = Lines(run / "metrics.jsonl")
        about = {"precision": precision, "network": network.name, "images": images, "batch": batch, "lines": lines}
        return Job("images", name, command, 60, about, lines.look)

    def raw_images(self, network: Network) -> Job:
        """From CIFAR-10's files, where nothing is decoded."""
        count = self.size.images[0]
        if self.runner.left_s() > 0:
            pictures.cifar(self.scratch / "cifar", count)
        return self.pretrain(network, "raw, 32 px", self.scratch / "cifar", count)

    def png_images(self, network: Network) -> Job:
        """From a folder of PNG files."""
        count, side = self.size.images[1], self.size.png_side
        if self.runner.left_s() > 0:
            pictures.folder_of_png(self.scratch / "png", count, side)
        return self.pretrain(network, f"PNG, {side} px", self.scratch / "png", count)

    def compile_ahead(self) -> list[subprocess.Popen]:
        """Lets PyTorch compile into its cache while errors, and no times, are measured: nothing else takes as long."""
        if self.arguments.dry_run or not self.with_torch:
            return []
        quiet = subprocess.DEVNULL
        jobs = [self.torch_step(network, 0, compiled=True) for network in self.size.networks]
        return [self.runner.start(job.command, quiet, quiet) for job in jobs]

    def perform(self, job: Job) -> Object:
        """The outcome of a job."""
        if job.about.get("torch") and not self.with_torch:
            missing = f"PyTorch was not found by {sys.executable}"
            outcome: Object = {"part": job.part, "name": job.name, "command": "", "seconds": 0.0, "objects": []}
            # Where there is no GPU, PyTorch is no part of the question.
            return outcome | job.about | {"error": missing, "left_out": self.arguments.dry_run}
        outcome = self.runner.run(job)
        lines = outcome.pop("lines", None)
        if isinstance(lines, Lines):
            rate = lines.per_second(self.size.steps_left_out)
            outcome["images_per_s"] = rate and rate * outcome["batch"]
            if rate is None and outcome["error"] is None:
                outcome["error"] = "too few steps to tell a rate"
                # A toy may be done between two looks.
                outcome["left_out"] = self.arguments.dry_run
        elif outcome["error"] is None and not outcome["objects"]:
            outcome["error"] = "it printed no JSON object"
        elif outcome["error"] is None and job.part == "hashes":
            outcome["error"] = tables.distinct(outcome["objects"][-1])
        return outcome

    def run(self, surroundings: Object) -> bool:
        """All jobs, each written as soon as it is done; whether all succeeded."""
        ahead = self.compile_ahead()
        whole = True
        try:
            for job in self.jobs():
                if job.part != "verify":
                    while ahead:
                        stop(ahead.pop())
                outcome = self.perform(job)
                self.results.append(outcome)
                said = outcome["error"] or "done"
                print(f"{outcome['seconds']:6.1f} s  {job.part}: {job.name}: {said}", flush=True)
                whole = write(self.arguments.out, surroundings, self.results)
        finally:
            for process in ahead:
                stop(process)
        return whole and all(tables.succeeded(outcome) for outcome in self.results)


def write(out: Path, surroundings: Object, results: list[Object]) -> bool:
    """Both files, as far as the campaign has come; whether every table could be made."""
    everything = surroundings | {"results": results}
    (out / "results.json").write_text(json.dumps(everything, indent=1) + "\n")
    report, whole = tables.report(everything)
    (out / "report.md").write_text(report)
    return whole


def offered(binary: str, *words: str) -> str:
    """What a command says about its flags; nothing where the program cannot be run, which the first job will tell."""
    return printed([binary, *words, "--help"]) or ""


def printed(command: list[str]) -> str | None:
    """What a command prints, or None where it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def surroundings(arguments: argparse.Namespace) -> Object:
    """What a reader must know beside the figures."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    binary = Path(arguments.binary)
    size = binary.stat().st_size / 2**20 if binary.is_file() else None
    return {
        "dry_run": arguments.dry_run,
        "backend": arguments.backend,
        "precisions": arguments.precisions,
        "gpu": printed(query),
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "binary_version": printed([arguments.binary, "--version"]),
        "binary_mib": size,
        "binary_mib_max": BINARY_MIB_MAX,
        "began": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests/gpu/run", description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for report.md, results.json and log.txt")
    default = os.environ.get("BISSL_BIN", "target/release/bissl")
    parser.add_argument("--binary", default=default, help="bissl [default: $BISSL_BIN or target/release/bissl]")
    parser.add_argument("--backend", help="of bissl [default: cuda; wgpu with --dry-run]")
    parser.add_argument(
        "--precisions",
        help="some of f32,tf32,bf16; the first one for what is measured once [default: all; f32 with --dry-run]",
    )
    parser.add_argument("--minutes", type=float, help="for everything [default: 8.8; 1.9 with --dry-run]")
    parser.add_argument(
        "--compiled-products",
        action="store_true",
        help="PyTorch's compiled Hessian product, too: it takes minutes to compile and needs more --minutes",
    )
    parser.add_argument("--dry-run", action="store_true", help="a tiny network on a backend without a GPU")
    arguments = parser.parse_args()
    dry = arguments.dry_run
    arguments.backend = arguments.backend or ("wgpu" if dry else "cuda")
    arguments.precisions = (arguments.precisions or ("f32" if dry else ",".join(PRECISIONS))).split(",")
    arguments.minutes = arguments.minutes or (DRY if dry else FULL).minutes
    for precision in arguments.precisions:
        if precision not in PRECISIONS:
            parser.error(f"--precisions: found {precision}, expected some of {','.join(PRECISIONS)}")
    found = shutil.which(arguments.binary)
    if found is None:
        parser.error(f"--binary: found no program {arguments.binary}, expected bissl ($BISSL_BIN names it as well)")
    arguments.binary = str(Path(found).resolve())
    return arguments


def main() -> int:
    """Exit status: 0, or 1 where anything failed."""
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "log.txt"
    log.write_text("")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bissl-gpu-") as folder:
        scratch = Path(folder)
        # PyTorch's kernels of this campaign and of no other: what was compiled ahead is found, nothing is left behind.
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"), "TRITON_CACHE_DIR": str(scratch / "triton")}
        runner = Runner(log, 60 * arguments.minutes - (time.monotonic() - began), caches)
        about = surroundings(arguments)
        passed = Campaign(arguments, runner, scratch).run(about)
    print(f"{time.monotonic() - began:6.1f} s  all; tables in {arguments.out / 'report.md'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
