"""Runs one command with a limit on its time and keeps what it printed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Object = dict[str, Any]

POLL_S = 0.01
LOG_BYTES = 20_000
"""Kept of what a command says on its error stream; the end says most."""


@dataclass(frozen=True)
class Job:
    """A measurement: one command."""

    part: str
    """The table that it belongs to."""
    name: str
    """The row."""
    command: list[str]
    limit_s: float
    """After so many seconds it is stopped."""
    about: Object = field(default_factory=dict)
    """What the table needs beside what the command prints."""
    watch: Callable[[], None] | None = None
    """Called every few milliseconds while it runs."""


def objects(text: str) -> list[Object]:
    """Every JSON object of `text` that begins a line."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(text):
        if text.startswith("{", position) and (position == 0 or text[position - 1] == "\n"):
            try:
                value, position = decoder.raw_decode(text, position)
                found.append(value)
                continue
            except json.JSONDecodeError:
                pass
        position += 1
    return found


def last_words(text: str) -> str:
    """The last line that begins with `error`, with its reasons, as bissl writes them; else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.lower().startswith("error")]
    if not errors:
        return lines[-1] if lines else ""
    error, *rest = lines[errors[-1] :]
    return ", ".join([error, *(line for line in rest if line.startswith("because:"))])


def stop(process: subprocess.Popen) -> None:
    """Ends a command and whatever it has started; its session is its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Runner:
    """Runs jobs until the time for all of them is over."""

    def __init__(self, log: Path, total_s: float, environment: dict[str, str]) -> None:
        self.log = log
        self.end = time.monotonic() + total_s
        self.environment = os.environ | environment

    def left_s(self) -> float:
        """Seconds until all must be done."""
        return self.end - time.monotonic()

    def start(self, command: list[str], out: Any, err: Any) -> subprocess.Popen:
        """The command, in a session of its own."""
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.environment, start_new_session=True
        )

    def run(self, job: Job) -> Object:
        """What is known about the job afterwards; `error` is None where it succeeded."""
        limit = min(job.limit_s, self.left_s())
        outcome: Object = {"part": job.part, "name": job.name, "command": shlex.join(job.command)} | job.about
        if limit <= 0:
            return outcome | {"seconds": 0.0, "error": "not started: the time for the campaign was over", "objects": []}
        began = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = self.start(job.command, out, err)
            except OSError as error:
                reason = f"{job.command[0]}: {error.strerror}, expected a program"
                return outcome | {"seconds": 0.0, "error": reason, "objects": []}
            overran = False
            try:
                while process.poll() is None and not overran:
                    if job.watch:
                        job.watch()
                    overran = time.monotonic() - began > limit
                    time.sleep(POLL_S)
            finally:
                stop(process)
            seconds = time.monotonic() - began
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode(errors="replace"))
        printed, said = texts
        with self.log.open("a") as log:
            log.write(f"== {shlex.join(job.command)}\n{said[-LOG_BYTES:]}\n")
        error = None
        if overran:
            error = f"stopped after {limit:.0f} s"
        elif process.returncode != 0:
            error = f"exit status {process.returncode}"
        if error and (line := last_words(said)):
            error += f": {line}"
        return outcome | {"seconds": seconds, "error": error, "objects": objects(printed)}
