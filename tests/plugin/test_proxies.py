"""The proxies in ParaView: from a series to a decoded volume, and a saved state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_core.archive import Archive
from metainr_core.prior import Prior

pytestmark = pytest.mark.skipif(not shutil.which("pvpython"), reason="ParaView is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proxies")


@pytest.fixture(scope="module")
def run(lab: Any, folder: Path) -> dict[str, Any]:
    series = lab.write(folder / "series", lab.waves())
    settings = {"pretrain": lab.quick_pretrain, "encode": lab.quick_encode}
    return lab.drive("drive_proxies.py", series, folder, json.dumps(settings))


def lines_about(run: dict[str, Any], label: str) -> list[str]:
    return [line for line in run["output"].splitlines() if label in line and "{" not in line]


def test_pretrain(run: dict[str, Any], folder: Path) -> None:
    prior = Prior.load(folder / "prior.safetensors")
    assert run["history"]["round"] == [1, 2, 3]
    assert run["history"]["loss_after"] == [row["loss_after"] for row in prior.history]
    assert run["pretrain_runs"] == 1


def test_the_input_shows_the_time_asked_for(lab: Any, run: dict[str, Any]) -> None:
    values = lab.wave(lab.grid, 3.0) + 1
    assert run["input_range_at_3"] == pytest.approx([values.min(), values.max()])


def test_encode_and_decode(lab: Any, run: dict[str, Any], folder: Path) -> None:
    assert run["steps"]["time"] == list(lab.times)
    assert run["encode_runs"] == 1
    assert run["times"] == list(lab.times)
    assert run["extent"] == [0, 15, 0, 11, 0, 9]
    assert np.array_equal(np.load(folder / "decoded_2.5.npy"), np.load(folder / "decoded_2.6.npy"))
    # The recorded figures are those of what the proxies give.
    for step, time in ((0, 0.5), (2, 2.5)):
        decoded = np.load(folder / f"decoded_{time}.npy").reshape(10, 12, 16)
        original = lab.wave(lab.grid, time)[..., 0]
        error = decoded.astype(np.float64) - original
        assert np.abs(error).max() == pytest.approx(run["steps"]["max_error"][step])
        psnr = 20 * np.log10(np.ptp(original)) - 10 * np.log10(np.mean(error**2))
        assert psnr == pytest.approx(run["steps"]["psnr"][step])


def test_resolution_box_and_contour(run: dict[str, Any]) -> None:
    assert run["contour_points"] > 50
    assert run["scaled_extent"] == [0, 31, 0, 23, 0, 19]
    assert run["box_extent"] == [2, 15, 4, 19, 2, 11]
    assert run["box_bounds"] == pytest.approx([2.0, 5.0, -1.0, 0.75, 7.0, 15.0])


def test_decode_follows_encode(run: dict[str, Any]) -> None:
    assert run["follows"]
    found = lines_about(run, "WARNING: Meta-INR Encode")
    replaced, _stopped = [line for line in found if "no better than" not in line]
    assert "replacing steps 0, 1, 2, 3, made with other settings" in replaced


def test_the_reader_opens_archives(lab: Any, run: dict[str, Any]) -> None:
    assert run["reader"] == "MetaINRReader"
    assert run["reader_times"] == list(lab.times)
    assert run["reader_extent"] == [0, 15, 0, 11, 0, 9]
    assert run["reader_box"] == pytest.approx(run["reader_bounds"])
    assert run["given_box"] == [0, 1, 0, 1, 0, 1]
    assert run["keeper"] == list(lab.times)


def test_errors_are_one_line_and_nothing_stale_is_shown(run: dict[str, Any]) -> None:
    assert run["rows_after_error"] == 0
    assert run["points_after_error"] == 0
    assert run["points_after_cure"] > 0
    (line,) = lines_about(run, "ERROR: Meta-INR Encode:")
    assert line.endswith('no point array "missing"; its arrays: speed (point), shifted (point)')
    (line,) = lines_about(run, "ERROR: Meta-INR Decode:")
    assert line.endswith("Meta-INR Encode, the input, failed; its own message says why")
    assert "Traceback" not in run["output"]
    assert "ERR|" not in run["output"]


def test_a_stop_keeps_what_is_finished(run: dict[str, Any]) -> None:
    assert run["stopped_steps"] == [0, 1]
    assert run["still_stopped_steps"] == [0, 1]
    assert run["continued_steps"] == [0, 1, 2, 3]
    (line,) = lines_about(run, "WARNING: Meta-INR Encode: stopped")
    assert "keeps 2 of 4 steps" in line


def test_members_of_an_ensemble(lab: Any, encoded: Any, tmp_path: Path) -> None:
    path = lab.ensemble(tmp_path / "ensemble.minr")
    found = lab.drive("drive_members.py", path, Path(encoded.GetArchiveFile()))
    assert (found["offered"], found["chosen"]) == (["a", "b"], "a")
    assert found["times"] == {"a": [1, 2, 3], "b": list(lab.times)}
    values = Archive.open(path).decode(5)
    assert found["time"] == 2.5
    assert found["range"] == pytest.approx([values.min(), values.max()], abs=1e-5)
    assert found["keeper"] == list(lab.times)
    assert found["points_of_none"] == 0
    assert found["named"] == list(lab.times)
    assert found["plain"] == {"offered": [], "chosen": "", "points": 1920}
    (line,) = lines_about(found, "ERROR: Meta-INR Reader")
    assert 'has no member \'none\'; its members: "a", "b"' in line


def test_a_loaded_state_does_not_train(lab: Any, run: dict[str, Any], folder: Path) -> None:
    files = [*folder.glob("*.safetensors"), *folder.glob("*/step_*.safetensors")]
    assert len(files) == 9
    before = {path: path.stat().st_mtime_ns for path in files}
    records = Archive.open(folder / "run.minr").records
    state = lab.drive("drive_state.py", folder / "state.pvsm")
    assert state["trained"] == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert Archive.open(folder / "run.minr").records == records
    assert state["rows"] == {"MetaINRPretrain": [3], "MetaINREncode": [4, 4]}
    assert state["times"] == {name: list(lab.times) for name in ("MetaINRDecode", "MetaINRReader")}
    assert state["points"]["MetaINRReader"] == 1920
    assert state["points"]["MetaINRDecode"] == 14 * 16 * 10
    assert "ERR" not in state["output"]
