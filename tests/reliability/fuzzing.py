"""What every fuzzing campaign does with one input: bounds, effects on the disk, figures.

Inputs go to a reader in a child process; a crash of it loses none, for the last input is kept.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from metainr_core.errors import MetaINRError

SECONDS = 2.0
MEMORY = 200_000_000
_SYSTEM = ("/proc/", "/usr/", sys.prefix)
_CHANGES = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.rmdir",
)
_FOREIGN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "socket.connect",
    "ctypes.dlopen",
)


@dataclass
class Tally:
    """Figures of one reader: numbers of inputs, CPU seconds of the slowest, most bytes added."""

    reader: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    memory: int = 0
    findings: list[str] = field(default_factory=list)

    def row(self) -> str:
        return (
            f"| {self.reader} | {self.inputs:,} | {self.read:,} | {self.refused:,} |"
            f" {self.slowest:.2f} s | {self.memory / 1e6:.0f} MB | {len(self.findings)} |"
        )


class Watch:
    """Notes what a reader opens for writing, changes, starts, or opens outside ``inside``.

    ``writes``: it may write inside, as what rebuilds an index does.
    """

    def __init__(self, inside: str | None = None, writes: bool = False) -> None:
        self.inside, self._writes = inside, writes
        self._on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def __enter__(self) -> Watch:
        self.seen, self._on = [], True
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._on:
            return
        named = arguments[:1] if event == "open" else arguments[:2]
        paths = [p for p in named if isinstance(p, (str, os.PathLike))]
        own = self._writes and paths and all(map(self._is_inside, paths))
        if event in _FOREIGN or (event in _CHANGES and not own):
            self.seen.append(f"{event} {arguments!r}")
        if event != "open" or not paths or own:
            return
        path, flags = str(arguments[0]), arguments[2]
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self.seen.append(f"opened for writing: {path!r}")
        elif self.inside and not (self._is_inside(path) or path.startswith(_SYSTEM)):
            self.seen.append(f"opened outside: {path!r}")

    def _is_inside(self, path: str | os.PathLike[str]) -> bool:
        return f"{os.path.abspath(path)}{os.sep}".startswith(f"{self.inside}{os.sep}")


class Campaign:
    """Has inputs read, and keeps those in ``folder`` of which something else came than it may."""

    def __init__(self, reader: str, folder: Path, watch: Watch):
        self.tally = Tally(reader)
        self._folder, self._watch = folder, watch
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, data: bytes, read: Callable[[], None]) -> None:
        tally = self.tally
        (self._folder / "last").write_bytes(data)  # what is left when the process is not
        before = peak_memory(reset=True)
        # Of this process: on a busy machine, others' work is no fault of the reader.
        gc.disable()  # nor what the maker of the inputs has left behind
        start, problem = time.process_time(), ""
        try:
            with self._watch as watch:
                read()
            tally.read += 1
        except MetaINRError as error:
            tally.refused += 1
            if not str(error).isprintable():
                problem = "a message of several lines"
        except BaseException:
            problem = traceback.format_exc()
        seconds = time.process_time() - start
        gc.enable()
        memory = max(peak_memory() - before, 0)
        tally.inputs += 1
        tally.slowest = max(tally.slowest, seconds)
        tally.memory = max(tally.memory, memory)
        if seconds > SECONDS:
            problem = problem or f"{seconds:.1f} seconds"
        if memory > 4 * len(data) + MEMORY:
            problem = problem or f"{memory} bytes of memory for a file of {len(data)}"
        if watch.seen:
            problem = problem or "; ".join(watch.seen)
        if problem:
            self._keep(data, problem)

    def _keep(self, data: bytes, problem: str) -> None:
        kind = problem.strip().splitlines()[-1]
        place = traceback_place(problem)
        key = hashlib.sha256(f"{kind[:60]}{place}".encode()).hexdigest()[:12]
        name = f"{self.tally.reader}-{key}"
        if not (self._folder / name).exists():
            (self._folder / name).write_bytes(data)
            (self._folder / f"{name}.txt").write_text(problem)
            self.tally.findings.append(f"{name}: {kind[:200]}")
            print(f"FOUND {name}: {kind[:200]} {place}", flush=True)

    def save(self) -> None:
        path = self._folder / f"{self.tally.reader}.json"
        path.write_text(json.dumps(asdict(self.tally), indent=1))


def traceback_place(problem: str) -> str:
    """The last line of this package in a traceback."""
    lines = [line.strip() for line in problem.splitlines() if "metainr_core" in line]
    return lines[-1] if lines else ""


def peak_memory(reset: bool = False) -> int:
    """The most bytes of memory that this process has had, since the last reset."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
