"""Meta-INR Compare in ParaView: after Encode and Decode, by its outputs, in a state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_core.series import open_series

pytestmark = pytest.mark.skipif(not shutil.which("pvpython"), reason="ParaView is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def run(lab: Any, folder: Path) -> dict[str, Any]:
    series = lab.write(folder / "series", lab.waves())
    settings = {**lab.quick_encode, "Width": 16, "HiddenLayers": 1, "Epochs": 60}
    return lab.drive("drive_compare.py", series, folder, json.dumps(settings))


def test_the_figures_are_those_that_encode_recorded(lab: Any, run: dict[str, Any]) -> None:
    assert run["times"] == run["all"]["time"] == run["encode"]["time"] == list(lab.times)
    assert run["all"]["step"] == run["encode"]["step"]
    for name in ("psnr", "psnr_series", "max_error"):
        assert run["all"][name] == pytest.approx(run["encode"][name], rel=1e-6)
        assert run["current"][name] == pytest.approx(run["encode"][name][2:3], rel=1e-6)
    assert run["current"]["time"] == [2.5]
    assert run["all"]["isovalue_1"] == [1.0] * 4
    assert all(0 < c < 4 for c in run["all"]["chamfer_voxels_0"])
    assert len(run["all"]["notes"]) == 4


def test_all_steps_are_compared_once(run: dict[str, Any]) -> None:
    assert run["compared_again"] == 0
    assert run["encode_runs"] == 0


def test_the_outputs(run: dict[str, Any], folder: Path) -> None:
    assert run["types"] == {
        "Table": "vtkTable", "Difference": "vtkImageData", "ReferenceIsosurface": "vtkPolyData",
        "ReconstructionIsosurface": "vtkPolyData",
    }  # fmt: skip
    assert run["extent"] == [0, 15, 0, 11, 0, 9]
    assert list(run["Difference"]) == ["difference"]
    # The time shown last was 1.0.
    largest = np.abs(run["Difference"]["difference"]).max()
    assert largest == pytest.approx(run["all"]["max_error"][1], rel=1e-6)
    for name in ("ReferenceIsosurface", "ReconstructionIsosurface"):
        assert list(run[name]) == ["distance", "distance_voxels", "isovalue", "Normals"]
        assert run[name]["isovalue"] == [0.5, 1.0]
        far = max(run["all"][f"hausdorff_{k}"][1] for k in (0, 1))
        assert 0 <= run[name]["distance"][0] < run[name]["distance"][1] <= far * (1 + 1e-9)


def test_what_follows_an_output(run: dict[str, Any], folder: Path) -> None:
    assert run["largest_at_3"] == pytest.approx(run["all"]["max_error"][3], rel=1e-6)
    assert run["contour_points"] > 10
    saved = open_series(folder / "difference.vti", "difference").read(0)
    assert np.abs(saved).max() == pytest.approx(run["all"]["max_error"][3], rel=1e-6)
    header, *lines = (folder / "table.csv").read_text().splitlines()
    assert header.startswith('"step","time","psnr"')
    assert len(lines) == 4


def test_another_resolution(run: dict[str, Any]) -> None:
    assert run["matching"].startswith("at 16 × 12 × 10 values, all of the reference's;")
    assert run["coarse"]["time"] == run["all"]["time"]
    assert run["coarse"]["psnr"] != run["all"]["psnr"]


def test_no_isovalues_are_three_quartiles(lab: Any, run: dict[str, Any]) -> None:
    waves = np.concatenate([lab.wave(lab.grid, time).ravel() for time in lab.times])
    given = [run["quartiles"][f"isovalue_{k}"][0] for k in range(3)]
    np.testing.assert_allclose(given, np.quantile(waves, (0.25, 0.5, 0.75)), rtol=1e-5)
    assert "isovalue_3" not in run["quartiles"]


def test_an_error_before_it_leaves_nothing(run: dict[str, Any]) -> None:
    assert run["rows_after_error"] == 0
    assert run["rows_after_cure"] == 4
    lines = [line for line in run["output"].splitlines() if "ERROR: Meta-INR Compare" in line]
    (line,) = lines
    assert "the Reconstruction is empty: what is before it failed" in line
    assert "Traceback" not in run["output"]
    assert "ERR|" not in run["output"]


def test_a_state(lab: Any, run: dict[str, Any], folder: Path) -> None:
    state = lab.drive("drive_state.py", folder / "state.pvsm")
    assert state["trained"] == 0
    assert state["rows"]["MetaINRCompare"] == [4]
    assert "ERR" not in state["output"]
