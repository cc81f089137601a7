"""Driving the command line: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import metainr_core
from metainr_core.cli import main
from metainr_core.series import ArraySeries

Maker = Callable[..., ArraySeries]
Capture = pytest.CaptureFixture[str]

NETWORK = ["--width", "8", "--hidden-layers", "1", "--omega-0", "10"]
PRETRAIN = ["--outer-steps", "3", "--inner-steps", "2", "--batch-size", "64", "--precision", "fp32"]
ENCODE = ["--epochs", "2", "--batch-size", "128", "--precision", "fp32", "--device", "cpu"]
MAIN = "import sys; from metainr_core.cli import main; sys.exit(main())"


def write_dataset(folder: Path, series: ArraySeries) -> None:
    """The series as the published code has it, which needs no VTK."""
    (folder / "speed").mkdir(parents=True)
    for step in range(len(series)):
        path = folder / "speed" / f"{folder.name}-speed-{step + 1}.raw"
        path.write_bytes(series.read(step).tobytes())
    dims, total = list(series.grid.dims), len(series)
    index = {"name": folder.name, "dims": dims, "vars": ["speed"], "total_samples": total}
    (folder / "dataset.json").write_text(json.dumps(index))


def run(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    report = json.loads(captured.out, parse_constant=refuse)
    assert isinstance(report, dict)
    return report


def fails(capsys: Capture, *arguments: str) -> str:
    """The one line that a command fails with."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("metainr: error: ")
    return captured.err


def start(folder: Path, *arguments: str, code: str = MAIN) -> subprocess.Popen[str]:
    root = str(Path(metainr_core.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
