"""SaveData and OpenDataFile in a script of ParaView."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vtkmodules")


@pytest.fixture(scope="module")
def found(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if shutil.which("pvpython") is None:
        pytest.skip("pvpython is not installed")
    folder = tmp_path_factory.mktemp("files")
    series = lab.write(folder / "series", lab.waves())
    (folder / "out").mkdir()
    return {**lab.drive("drive_files.py", series, folder / "out"), "folder": folder / "out"}


def test_what_was_saved_is_opened_with_the_same_values(lab: Any, found: Any) -> None:
    assert found["reader"] == "MetaINRReader"
    assert found["times"] == list(lab.times)
    assert found["same"], "SaveData gives other values than Encode with the same settings"
    assert found["copy"] == list(lab.times)


def test_the_series_stays_at_its_time(found: Any) -> None:
    assert found["stays"]


def test_bad_input_is_one_line_and_leaves_nothing(found: Any) -> None:
    lines = [x for x in found["output"].splitlines() if "ERROR: Meta-INR Writer" in x]
    assert len(lines) == 2, found["output"]
    folder: Path = found["folder"]
    assert f"{folder / 'saved.minr'} is where the data come from" in lines[0]
    assert f"no prior: {folder / 'saved.minr'} is damaged or no safetensors file" in lines[1]
    assert found["files"] == [
        "copy", "copy.minr", "encoded", "encoded.minr", "prior.safetensors", "saved", "saved.minr",
    ]  # fmt: skip
    assert "Traceback" not in found["output"]


def test_a_prior_opens_as_a_table(found: Any) -> None:
    assert found["prior"] == ["MetaINRPriorReader", 3]
    assert "is a time step of an archive, not a prior" in found["step"]


def test_a_file_that_was_put_right_is_reloaded(found: Any) -> None:
    first, broken, second, repaired = found["reload"]
    assert first
    assert second
    assert f"{found['folder'] / 'saved.minr'} is damaged" in broken
    assert repaired == ""
    assert found["again"]
