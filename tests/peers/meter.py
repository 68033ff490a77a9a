"""Clock, peak memory, and how a result is written."""

from __future__ import annotations

import contextlib
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Result = dict[str, Any]


class Meter:
    """Times work on one device and tells its peak memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            # There are no statistics of its memory before.
            torch.cuda.init()
        self.idle_bytes = self.peak_of(lambda: None)

    def now(self) -> float:
        """Seconds on a steady clock, after all work queued on the device has ended."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def seconds(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes."""
        start = self.now()
        work()
        return self.now() - start

    def restart_peak(self) -> None:
        """Lets the peak begin again at what is held now; where the system cannot, it goes on."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Largest memory since the peak's last restart, bytes: on a processor the resident set of the whole
        process, on a GPU what the tensors took."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        status = Path("/proc/self/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def memory(self, peak: int) -> Result:
        """Peak memory, and what was held before there were networks (on a processor mostly PyTorch itself), bytes."""
        return {"peak_memory_bytes": peak, "idle_bytes": self.idle_bytes}

    def peak_of(self, work: Callable[[], object]) -> int:
        """Peak memory while `work` runs, bytes."""
        self.restart_peak()
        work()
        self.now()
        return self.peak_bytes()


def median(values: list[float]) -> float:
    """The median; `values` must not be empty."""
    return statistics.median(values)


def surroundings(device: torch.device) -> Result:
    """What a reader must know beside the figures."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor
    return {"device": device.type, "device_name": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def write(result: Result, to: str | None) -> None:
    """Prints `result` as a table (`to` None) or as one JSON object (`-`), or writes that object to the file `to`."""
    if to is None:
        length = max(map(len, result))
        for key, value in result.items():
            print(f"{key:{length}}  {f'{value:.6g}' if isinstance(value, float) else value}")
    elif to == "-":
        print(json.dumps(result))
    else:
        Path(to).write_text(json.dumps(result, indent=1) + "\n")
