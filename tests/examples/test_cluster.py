"""The script for clusters: one process encodes, several render, and what it says of bad input."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_core import Archive
from tests.examples.test_side_by_side import panels
from tests.hosts import ROOT, blob, display, require, write_series


def run(
    *arguments: object, processes: int = 1, screen: str = ""
) -> subprocess.CompletedProcess[str]:
    metainr = Path(sys.executable).with_name("metainr")
    command = [metainr, "pvbatch", ROOT / "examples" / "cluster.py", *arguments]
    if processes > 1:
        command = ["mpiexec", "-n", processes, *command]
    environment = {
        **os.environ, "DISPLAY": screen, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }  # fmt: skip
    return subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, timeout=240
    )


def test_one_process_encodes_and_two_render(tmp_path: Path) -> None:
    require("pvbatch", "mpiexec", "Xvfb")
    series = write_series(tmp_path / "series", [blob(0.3), blob(0.7)], (1.0, 4.0))
    archive = tmp_path / "run.minr"
    result = run("encode", series, archive, "--epochs", 1)
    assert result.returncode == 0, result.stderr
    assert Archive.open(archive).times == [1.0, 4.0]
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == [1.0, 4.0]
    assert all(float(row["psnr"]) > 20 for row in rows)

    frames = tmp_path / "frames"
    with display() as screen:
        result = run("render", archive, frames, "--size", 900, 300, processes=2, screen=screen)
    assert result.returncode == 0, result.stderr
    found = sorted(frames.iterdir())
    assert [frame.name for frame in found] == ["frame.0000.png", "frame.0001.png"]
    early, late = (np.concatenate(panels(frame), axis=1) for frame in found)
    assert (np.abs(early - late).max(axis=2) > 20).mean() > 0.01, "nothing has moved"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "absent.pvd", "run.minr"], "absent.pvd does not exist"),
        (["encode", "SERIES", "run.minr", "--array", "heat"], "heat"),
        (["render", "DAMAGED", "frames"], "ERROR: Meta-INR Reader: "),
    ],
)
def test_bad_input_ends_it(tmp_path: Path, arguments: list[str], message: str) -> None:
    require("pvbatch")
    damaged = tmp_path / "damaged.minr"
    damaged.write_text("{}")
    files = {
        "SERIES": write_series(tmp_path / "series", [blob(0.3, 8)], (1.0,)),
        "DAMAGED": damaged,
        "run.minr": tmp_path / "run.minr",
        "frames": tmp_path / "frames",
    }
    result = run(*(files.get(argument, argument) for argument in arguments))
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run.minr").exists()
    assert not (tmp_path / "frames").exists()
