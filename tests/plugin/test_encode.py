"""Meta-INR Encode: the archive, its table, and what happens when it is stopped."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vtkmodules")
from metainr_paraview import filter as filter_module
from metainr_paraview.encode import ARCHIVE_ARRAY, COLUMNS, MetaINREncode
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.tables import field_text

from metainr_core.archive import Archive
from metainr_core.step_encoder import StepEncoder


def make(lab: Any, path: Path, prior: Path | None, source: Any = None, **values: Any) -> Any:
    files = {"ArchiveFile": str(path), "PriorFile": "" if prior is None else str(prior)}
    algorithm = lab.set(MetaINREncode(), **{**files, **lab.quick_encode, **values})
    return lab.connect(algorithm, source or lab.source())


def check_error(lab: Any, algorithm: Any, expected: str) -> None:
    messages = lab.messages(algorithm)
    algorithm.Update()
    (message,) = messages
    assert expected in message
    assert message.count("\n") == 1
    table = algorithm.GetOutputDataObject(0)
    assert table.GetNumberOfRows() == 0
    assert not field_text(table, ARCHIVE_ARRAY)


def test_the_table_has_the_archives_records(lab: Any, encoded: Any) -> None:
    table = encoded.GetOutputDataObject(0)
    path = encoded.GetArchiveFile()
    assert field_text(table, ARCHIVE_ARRAY) == path
    records = Archive.open(path).records
    assert lab.column(table, "time") == list(lab.times)
    for name in COLUMNS:
        assert lab.column(table, name) == [getattr(r, name) for r in records]
    assert list(COLUMNS)[:8] == [
        "step", "time", "psnr", "psnr_series", "max_error", "seconds", "bytes", "ratio",
    ]  # fmt: skip


def test_the_same_again_fits_nothing(
    lab: Any, encoded: Any, prior_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import metainr_core.training

    def no_training(*_: Any) -> None:
        raise AssertionError("fitted again")

    path = Path(encoded.GetArchiveFile())
    files = sorted(path.with_suffix("").glob("step_*"))
    before = [f.stat().st_mtime_ns for f in files]
    monkeypatch.setattr(metainr_core.training.Trainer, "run", no_training)
    again = make(lab, path, prior_file)
    again.Update()
    table = again.GetOutputDataObject(0)
    first = encoded.GetOutputDataObject(0)
    assert lab.column(table, "seconds") == lab.column(first, "seconds")
    assert [f.stat().st_mtime_ns for f in files] == before


def test_a_stop_keeps_finished_steps_and_the_next_run_continues(
    lab: Any, tmp_path: Path, prior_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_module, "PROGRESS_INTERVAL", 0)
    # However many cores there are.
    monkeypatch.setattr(StepEncoder, "steps_at_once", lambda self: 1)
    algorithm = make(lab, tmp_path / "run.minr", prior_file)
    steps: list[str] = []

    def watch(caller: Any, _event: str) -> None:
        steps.append(caller.GetProgressText() or "")
        if steps[-1].startswith("encode 3/4"):
            caller.SetAbortExecute(1)

    observer = algorithm.AddObserver("ProgressEvent", watch)
    messages = lab.messages(algorithm)
    algorithm.Update()
    table = algorithm.GetOutputDataObject(0)
    kept = lab.column(table, "step")
    assert kept == [0, 1], steps
    assert messages[0].startswith("WARNING: Meta-INR Encode: stopped")
    assert f"keeps {len(kept)} of 4 steps" in messages[0]
    assert field_text(table, ARCHIVE_ARRAY)
    first = (tmp_path / "run" / "step_000000.safetensors").stat().st_mtime_ns
    algorithm.RemoveObserver(observer)
    algorithm.Modified()
    algorithm.Update()
    assert lab.column(algorithm.GetOutputDataObject(0), "step") == [0, 1, 2, 3]
    assert (tmp_path / "run" / "step_000000.safetensors").stat().st_mtime_ns == first
    assert len(messages) == 1


def test_a_missed_target_is_one_warning(lab: Any, tmp_path: Path, prior_file: Path) -> None:
    values = {"TargetPSNR": 99.0, "Epochs": 1}
    for _ in range(2):  # also where nothing is fitted again
        algorithm = make(lab, tmp_path / "run.minr", prior_file, **values)
        (message,) = run_with_messages(lab, algorithm)
        assert message.startswith("WARNING: Meta-INR Encode: ")
        assert "run.minr: steps 0, 1, 2, 3 miss the target of 99 dB; more epochs" in message
        assert algorithm.GetOutputDataObject(0).GetNumberOfRows() == 4
    flags = {"Weights": "float32", "TargetRatio": 3.0, "Init": "random", "HiddenLayers": 1}
    algorithm = make(lab, tmp_path / "other.minr", None, **flags)
    (message,) = run_with_messages(lab, algorithm)
    assert "other.minr: TargetRatio is 3, and the archive reaches 2." in message


def test_a_fit_that_diverges_is_one_error_and_keeps_what_was_finished(
    lab: Any, tmp_path: Path
) -> None:
    path = tmp_path / "run.minr"
    plain = {"Init": "random", "Width": 6, "HiddenLayers": 1}
    run_with_messages(lab, make(lab, path, None, **plain))
    kept = Archive.open(path).records
    wild = make(lab, path, None, LearningRate=1e25, Optimizer="adam", **plain)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*replacing steps")
        check_error(lab, wild, "the fit diverged; lower LearningRate (tried 1e+25,")
    assert len(kept) == 4
    assert Archive.open(path).records == kept


def run_with_messages(lab: Any, algorithm: Any) -> list[str]:
    messages: list[str] = lab.messages(algorithm)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", ".* no better than")  # few passes of tiny networks
        algorithm.Update()
    return messages


@pytest.mark.parametrize("init", ["random", "previous"])
def test_without_a_prior(lab: Any, tmp_path: Path, init: str) -> None:
    path = tmp_path / "run.minr"
    algorithm = make(lab, path, None, Init=init, Width=6, HiddenLayers=1, KeyInterval=2)
    algorithm.Update()
    assert lab.column(algorithm.GetOutputDataObject(0), "step") == [0, 1, 2, 3]
    assert Archive.open(path).header.siren.width == 6


def test_random_weights_use_no_prior(lab: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    algorithm = make(lab, tmp_path / "run.minr", missing, Init="random", Width=6, HiddenLayers=1)
    algorithm.Update()
    assert algorithm.GetOutputDataObject(0).GetNumberOfRows() == 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ArchiveFile": ""}, "ArchiveFile is empty"),
        ({"PriorFile": ""}, "PriorFile is empty, which Init=meta needs"),
        ({"PriorFile": "missing.safetensors"}, "missing.safetensors"),
        ({"ArchiveFile": "run.vtk"}, "ends in .minr"),
        ({"Init": "pretrained"}, "set init to meta"),
        ({"Init": "best"}, "expected one of meta"),
        ({"Epochs": 0}, "epochs is 0; expected at least 1"),
        ({"Width": 16}, "leave the network to the prior"),
        ({"TargetPSNR": -3.0}, "TargetPSNR is -3.0"),
        ({"MaxError": -3.0}, "MaxError is -3.0"),
        ({"TargetRatio": 2.0, "MaxError": 1.0}, "MaxError is 1.0; expected 0, as TargetRatio is 2"),
        ({"CodingLoss": 0.0}, "CodingLoss is 0.0"),
        ({"Adapt": "some"}, "adapt is 'some'; expected one of all, modulation"),
        ({"TargetRatio": 2.0, "Weights": "float16"}, "TargetRatio 2 takes width"),
    ],
)
def test_bad_settings(
    lab: Any, tmp_path: Path, prior_file: Path, values: dict[str, Any], expected: str
) -> None:
    check_error(lab, make(lab, tmp_path / "run.minr", prior_file, **values), expected)


def test_an_archive_of_another_series_is_kept_unless_asked(
    lab: Any, encoded: Any, prior_file: Path
) -> None:
    path = Path(encoded.GetArchiveFile())
    before = path.read_bytes()
    other = lab.source(lab.waves()[::-1])
    algorithm = make(lab, path, prior_file, other)
    check_error(lab, algorithm, "holds another series")
    assert "(Overwrite)" in field_text(algorithm.GetOutputDataObject(0), ERROR_ARRAY)
    assert path.read_bytes() == before
    algorithm.SetOverwrite(1)
    algorithm.Update()
    assert algorithm.GetOutputDataObject(0).GetNumberOfRows() == 4
    written = path.with_suffix("").joinpath("step_000000.safetensors").stat().st_mtime_ns
    again = make(lab, path, prior_file, other, Overwrite=1)
    again.Update()
    assert again.GetOutputDataObject(0).GetNumberOfRows() == 4
    kept = path.with_suffix("").joinpath("step_000000.safetensors").stat().st_mtime_ns
    assert kept == written, "it is the same series now: nothing is fitted again"


def test_a_prior_of_another_array(lab: Any, tmp_path: Path, prior_file: Path) -> None:
    source = lab.source([lab.image(lab.wave(lab.grid, 0.0), lab.grid, "other")], None)
    algorithm = make(lab, tmp_path / "run.minr", prior_file)
    check_error(lab, lab.connect(algorithm, source, "other"), "learned from array 'speed'")


def test_another_grid_in_the_last_step_loses_nothing(
    lab: Any, encoded: Any, prior_file: Path
) -> None:
    import dataclasses

    other = dataclasses.replace(lab.grid, dims=(8, 8, 8))
    images = [*lab.waves()[:3], lab.image(lab.wave(other, 0.0), other)]
    path = Path(encoded.GetArchiveFile())
    check_error(lab, make(lab, path, prior_file, lab.source(images)), "step 3 (time 3)")
    assert Archive.open(path).steps == [0, 1, 2, 3]


def test_one_step_and_a_constant_field(lab: Any, tmp_path: Path) -> None:
    import numpy as np

    image = lab.image(np.full((10, 12, 16, 1), 7.0, np.float32), lab.grid)
    algorithm = make(lab, tmp_path / "run.minr", None, lab.source([image], None), Init="random")
    algorithm.Update()
    assert lab.column(algorithm.GetOutputDataObject(0), "max_error") == [0.0]


def test_the_archive_can_move(lab: Any, encoded: Any, tmp_path: Path) -> None:
    path = Path(encoded.GetArchiveFile())
    moved = tmp_path / "elsewhere" / "other.minr"
    moved.parent.mkdir()
    shutil.move(path, moved)
    shutil.move(path.with_suffix(""), moved.with_suffix(""))
    assert Archive.open(moved).decode(2).shape == (10, 12, 16, 1)
