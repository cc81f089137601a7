"""Peak memory of the commands: one copy of a volume too many fails here.

examples/benchmarks/memory.py measures the same for larger volumes and whole processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.memory import write_series

pytest.importorskip("vtkmodules.vtkIOXML")

TINY = ["--brick-size", "52", "--width", "4", "--hidden-layers", "0"]
PRETRAIN = ["--outer-steps", "1", "--inner-steps", "1", "--lambda-t", "1", "--device", "cpu"]
ENCODE = ["--epochs", "1", "--batch-size", "4096", "--device", "cpu"]

# What each command adds to the memory of a process that has run smaller ones before, so that
# libraries do not count. Writing 5 to clear_refs resets VmHWM, the peak.
CHILD = """
import json, re, sys
from pathlib import Path
from metainr_core.cli import main

def memory(name):
    text = Path("/proc/self/status").read_text()
    return int(re.search(name + r":\\s+(\\d+)", text)[1]) * 1024

found = {}
for key, arguments in json.loads(sys.argv[1]):
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    assert main(arguments) == 0
    found[key] = memory("VmHWM") - before
print()
print(json.dumps(found))
"""


def commands(folder: Path, size: int) -> list[tuple[str, list[str]]]:
    series = str(write_series(folder, size))
    prior, archive = str(folder / f"{size}.safetensors"), str(folder / f"{size}.minr")
    out = str(folder / f"out_{size}.pvd")
    return [
        ("pretrain", ["pretrain", series, "-o", prior, *TINY, *PRETRAIN]),
        ("encode", ["encode", series, "-o", archive, "--prior", prior, *ENCODE]),
        ("decode", ["decode", archive, "-o", out, "--device", "cpu"]),
    ]


# A block of more than 32 MB: the C library gives those back to the system at once.
SIZE = 208


@pytest.fixture(scope="module")
def growth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Peak memory that each command needed, relative to one step."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not reset a process's peak memory")
    folder = tmp_path_factory.mktemp("memory")
    jobs = commands(folder, 60) + commands(folder, SIZE)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(jobs)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(child.stdout.splitlines()[-1])
    return {key: grown / (4 * SIZE**3) for key, grown in found.items()}


# The series has two steps: one that is kept while the next is read shows, too.
@pytest.mark.parametrize(("command", "limit"), [("pretrain", 3), ("encode", 3), ("decode", 1.5)])
def test_memory_is_bounded_by_the_size_of_a_step(
    growth: dict[str, float], command: str, limit: float
) -> None:
    assert growth[command] <= limit
    assert growth[command] >= 0.9, "nothing was measured"
