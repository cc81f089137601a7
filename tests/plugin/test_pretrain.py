"""Meta-INR Pretrain: the file, its table, and what happens when it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.config import PretrainConfig, SirenConfig

pytest.importorskip("vtkmodules")
from metainr_paraview import filter as filter_module
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.history import COLUMNS, PRIOR_ARRAY
from metainr_paraview.pretrain import MetaINRPretrain
from metainr_paraview.tables import field_text

from metainr_core.prior import Prior


def make(lab: Any, path: Path, source: Any = None, **values: Any) -> Any:
    algorithm = lab.set(
        MetaINRPretrain(), **{"PriorFile": str(path), **lab.quick_pretrain, **values}
    )
    return lab.connect(algorithm, source or lab.source())


def stop_at(algorithm: Any, words: str) -> int:
    """Asks the algorithm to stop when its progress text has these words."""

    def watch(caller: Any, _event: str) -> None:
        if words in (caller.GetProgressText() or ""):
            caller.SetAbortExecute(1)

    return algorithm.AddObserver("ProgressEvent", watch)


def test_the_table_is_the_history_and_the_file_the_prior(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "prior.safetensors"
    algorithm = make(lab, path)
    messages = lab.messages(algorithm)
    algorithm.Update()
    assert not messages
    table, prior = algorithm.GetOutputDataObject(0), Prior.load(path)
    for name in COLUMNS:
        assert lab.column(table, name) == [row[name] for row in prior.history]
    assert lab.column(table, "round") == [1, 2, 3]
    assert field_text(table, PRIOR_ARRAY) == str(path)
    share = table.GetFieldData().GetArray("voxel_share").GetValue(0)
    assert share == pytest.approx(prior.voxel_share)
    assert 0 < share < 0.1
    expected = PretrainConfig(
        siren=SirenConfig(width=8, hidden_layers=1), outer_steps=3, inner_steps=2, tasks=2,
        batch_size=64, lambda_t=1, precision="fp32",
    )  # fmt: skip
    assert prior.config == expected


def test_the_same_again_does_not_train(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prior.safetensors"
    make(lab, path).Update()
    before, table = path.read_bytes(), None
    stamp = path.stat().st_mtime_ns
    import metainr_core.training

    def no_training(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(metainr_core.training.Trainer, "run", no_training)
    again = make(lab, path)
    again.Update()
    table = again.GetOutputDataObject(0)
    assert lab.column(table, "round") == [1, 2, 3]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp)


def test_a_stop_keeps_the_rounds_and_the_next_run_continues(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Shown texts are thinned out; here every one has to be seen.
    monkeypatch.setattr(filter_module, "PROGRESS_INTERVAL", 0)
    path, reference = tmp_path / "prior.safetensors", tmp_path / "reference.safetensors"
    algorithm = make(lab, path, OuterSteps=6)
    observer = stop_at(algorithm, "pretrain")
    messages = lab.messages(algorithm)
    algorithm.Update()
    rounds = len(lab.column(algorithm.GetOutputDataObject(0), "round"))
    assert 1 <= rounds < 6
    (message,) = messages
    assert message.startswith("WARNING: Meta-INR Pretrain: stopped")
    assert f"{rounds} of 6 rounds" in message
    assert len(Prior.load(path).history) == rounds
    algorithm.RemoveObserver(observer)
    algorithm.Modified()
    algorithm.Update()
    assert lab.column(algorithm.GetOutputDataObject(0), "round") == [1, 2, 3, 4, 5, 6]
    make(lab, reference, OuterSteps=6).Update()
    assert Prior.load(path).digest == Prior.load(reference).digest


def test_a_stop_before_the_first_round_shows_nothing_old(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    make(lab, path).Update()
    before = path.read_bytes()
    algorithm = make(lab, path, Seed=5)
    stop_at(algorithm, "")
    messages = lab.messages(algorithm)
    algorithm.Update()
    assert "stopped before anything new" in messages[0]
    table = algorithm.GetOutputDataObject(0)
    assert table.GetNumberOfRows() == 0
    assert "stopped" in field_text(table, ERROR_ARRAY)
    assert path.read_bytes() == before


def check_error(lab: Any, algorithm: Any, expected: str) -> None:
    messages = lab.messages(algorithm)
    algorithm.Update()
    (message,) = messages
    assert expected in message
    assert message.count("\n") == 1
    assert algorithm.GetOutputDataObject(0).GetNumberOfRows() == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"PriorFile": ""}, "PriorFile is empty"),
        ({"OuterSteps": 0}, "OuterSteps is 0; expected at least 1"),
        ({"LambdaS": -3}, "LambdaS is -3"),
        ({"Sampling": "dense"}, "expected one of random, lattice"),
        ({"Preset": "best"}, "expected one of default, paper"),
        ({"Outer": "maml"}, "OuterLearningRate is 0.0; expected above 0"),
        ({"BrickSize": 2}, "BrickSize is 2"),
        ({"Fraction": 1.5}, "fraction is 1.5"),
        ({"TargetRatio": 1e9, "Width": -1}, "TargetRatio 1e+09 cannot be reached"),
        ({"Device": "cuda"}, "device is cuda, but PyTorch"),
    ],
)
def test_bad_settings(lab: Any, tmp_path: Path, values: dict[str, Any], expected: str) -> None:
    import torch

    if values.get("Device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    check_error(lab, make(lab, tmp_path / "prior.safetensors", **values), expected)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_error(lab, make(lab, tmp_path / "file" / "prior.safetensors"), "choose a writable folder")


def test_a_file_that_is_no_prior_is_not_overwritten(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    path.write_bytes(b"something else")
    check_error(lab, make(lab, path), "no safetensors file")
    assert path.read_bytes() == b"something else"


def test_values_that_are_not_finite(lab: Any, tmp_path: Path) -> None:
    values = lab.wave(lab.grid, 0.0)
    values[2, 3, 4] = np.nan
    images = lab.waves()
    images[2] = lab.image(values, lab.grid)
    path = tmp_path / "prior.safetensors"
    algorithm = make(lab, path, lab.source(images))
    check_error(lab, algorithm, "step 2 (time 2.5)")
    assert "IgnoreNonfinite" in field_text(algorithm.GetOutputDataObject(0), ERROR_ARRAY)
    ignoring = make(lab, path, lab.source(images), IgnoreNonfinite=1, InnerSteps=16)
    ignoring.Update()
    assert ignoring.GetOutputDataObject(0).GetNumberOfRows() == 3
