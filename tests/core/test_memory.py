"""Peak memory of the commands: one copy of a volume too many fails here.

examples/benchmarks/memory.py measures the same for larger volumes and whole processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.memory import write_series

from metainr_core.memory import free_memory

pytest.importorskip("vtkmodules.vtkIOXML")

TINY = ["--brick-size", "40", "--width", "4", "--hidden-layers", "0"]
PRETRAIN = ["--outer-steps", "1", "--inner-steps", "1", "--lambda-t", "1", "--device", "cpu"]
ENCODE = ["--epochs", "1", "--batch-size", "4096", "--device", "cpu"]

# What each command adds, at its peak, to the memory of a process that has run it before on less,
# so that libraries do not count. Writing 5 to clear_refs resets VmHWM, the peak.
CHILD = """
import json, re, sys
from pathlib import Path
from metainr_core.cli import main

def memory(name):
    text = Path("/proc/self/status").read_text()
    return int(re.search(name + r":\\s+(\\d+)", text)[1]) * 1024

found = []
for arguments in json.loads(sys.argv[1]):
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    assert main(arguments) == 0
    found.append(memory("VmHWM") - before)
print()
print(json.dumps(found))
"""


JOBS = "pretrain", "encode", "decode"
# The first run is for the libraries; of the two others only the size differs.
WARM, SMALL, LARGE = 48, 128, 208


def commands(folder: Path, size: int) -> list[list[str]]:
    series = str(write_series(folder, size))
    prior, archive = str(folder / f"{size}.safetensors"), str(folder / f"{size}.minr")
    out = str(folder / f"out_{size}.pvd")
    return [
        ["pretrain", series, "-o", prior, *TINY, *PRETRAIN],
        ["encode", series, "-o", archive, "--prior", prior, *ENCODE],
        ["decode", archive, "-o", out, "--device", "cpu"],
    ]


@pytest.fixture(scope="module")
def growth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """Bytes that each command needed for the small series and for the large one."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not reset a process's peak memory")
    folder = tmp_path_factory.mktemp("memory")
    jobs = [job for size in (WARM, SMALL, LARGE) for job in commands(folder, size)]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(jobs)],
        # The C library gives blocks of a megabyte back as soon as they are free.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(child.stdout.splitlines()[-1])
    return dict(zip(JOBS, zip(found[3:6], found[6:9], strict=True), strict=True))


# Copies of a step at most, and megabytes for all that does not grow with it: 500 and 300 less
# what PyTorch and VTK take. The series has two steps: one that is kept while the next is read
# shows, too.
@pytest.mark.parametrize(
    ("command", "copies", "megabytes"),
    [("pretrain", 3, 200), ("encode", 3, 200), ("decode", 1.5, 30)],
)
def test_memory_is_bounded_by_the_size_of_a_step(
    growth: dict[str, tuple[int, int]], command: str, copies: float, megabytes: float
) -> None:
    small, large = growth[command]
    slope = (large - small) / (4 * LARGE**3 - 4 * SMALL**3)
    assert 0.5 < slope <= copies
    assert large <= copies * 4 * LARGE**3 + megabytes * 1e6


def test_the_free_memory_is_some() -> None:
    assert 1 << 20 < free_memory() < sys.maxsize // 4
