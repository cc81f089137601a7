"""Meta-INR Writer: all time steps as an archive, or nothing at all."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_paraview.encode import MetaINREncode
from metainr_paraview.pretrain import MetaINRPretrain
from metainr_paraview.reader import MetaINRReader
from metainr_paraview.writer import MetaINRWriter

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig

# As much as the presets of these tests shall cost.
SHORT = {"outer_steps": 3, "inner_steps": 2, "tasks": 2, "lambda_t": 1, "precision": "fp32"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that take no time; everything else is as they have it."""

    def preset(cls: Any, name: str, **fields: Any) -> Any:
        quick = SHORT if cls is PretrainConfig else {"precision": "fp32", "epochs": 1}
        return cls(**{**quick, **fields})

    for stage in (PretrainConfig, EncodeConfig):
        monkeypatch.setattr(stage, "preset", classmethod(preset))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saved.minr"


def write(lab: Any, path: Path, source: Any = None, **values: Any) -> list[str]:
    """Writes a source (``lab.source()``); returns what the writer said."""
    writer = lab.set(MetaINRWriter(), FileName=str(path), **values)
    lab.connect(writer, source or lab.source())
    messages = lab.messages(writer)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", ".* no better than")  # few passes of tiny networks
        writer.Write()
    return messages


def volumes(path: Path) -> list[np.ndarray]:
    archive = Archive.open(path)
    return [archive.decode(step) for step in archive.steps]


def test_it_gives_what_pretrain_and_encode_give(lab: Any, path: Path, tmp_path: Path) -> None:
    assert write(lab, path) == []
    prior, other = str(tmp_path / "p.safetensors"), tmp_path / "other.minr"
    source = lab.source()
    pretrain = lab.set(MetaINRPretrain(), PriorFile=prior)
    lab.connect(pretrain, source).Update()
    encode = lab.set(MetaINREncode(), PriorFile=prior, ArchiveFile=str(other))
    lab.connect(encode, source).Update()
    np.testing.assert_array_equal(volumes(path), volumes(other))
    archive = Archive.open(path)
    assert archive.times == list(lab.times)
    assert sorted(os.listdir(tmp_path / "saved")) == sorted(os.listdir(tmp_path / "other"))
    assert archive.info == Archive.open(other).info


def test_settings_and_a_prior_are_used(lab: Any, path: Path, prior_file: Path) -> None:
    values = {"PriorFile": str(prior_file), "Epochs": 3, "TargetPSNR": 90.0, "TargetRatio": 2.0}
    messages = write(lab, path, **values)
    assert len(messages) == 1
    assert f"{path}: steps 0, 1, 2, 3 miss the target of 90 dB" in messages[0]
    archive = Archive.open(path)
    encode = archive.info["encode"]
    assert (encode["epochs"], encode["target_psnr"], encode["target_ratio"]) == (3, 90, 2)
    assert archive.header.siren.width == 8, "the prior's"


def test_a_pooled_prior_is_taken_as_what_it_is(lab: Any, path: Path, tmp_path: Path) -> None:
    prior = str(tmp_path / "p.safetensors")
    pretrain = lab.set(MetaINRPretrain(), PriorFile=prior, Outer="pooled", **{"Width": 8})
    lab.connect(pretrain, lab.source()).Update()
    assert write(lab, path, PriorFile=prior) == []
    assert Archive.open(path).info["encode"]["init"] == "pretrained"


def test_the_target_ratio_picks_the_network(lab: Any, path: Path) -> None:
    write(lab, path)
    default = Archive.open(path).header.siren.width
    write(lab, path, TargetRatio=3.0)
    assert Archive.open(path).header.siren.width > default


def test_the_input_stays_at_its_time(lab: Any, path: Path) -> None:
    source = lab.source()
    source.UpdateTimeStep(2.5)
    before = lab.values(source.GetOutputDataObject(0)).copy()
    assert write(lab, path, source) == []
    assert len(Archive.open(path).steps) == 4
    np.testing.assert_array_equal(lab.values(source.GetOutputDataObject(0)), before)


def test_what_a_reader_shows_is_saved_under_another_name_only(
    lab: Any, encoded: Any, path: Path
) -> None:
    original = Path(encoded.GetArchiveFile())
    reader = lab.set(MetaINRReader(), FileName=str(original))
    assert write(lab, path, reader) == []
    assert Archive.open(path).times == list(lab.times)
    before = volumes(original)
    again = original.parent / "link.minr"
    again.symlink_to(original)
    for name in (original, again):
        (message,) = write(lab, name, reader)
        assert f"{name} is where the data come from" in message
    np.testing.assert_array_equal(volumes(original), before)


def test_an_older_archive_is_replaced(lab: Any, path: Path, encoded: Any) -> None:
    old = Path(encoded.GetArchiveFile())
    images = [lab.image(np.flip(lab.wave(lab.grid, t), 0), lab.grid) for t in (0.0, 1.0)]
    assert write(lab, old, lab.source(images, (0.0, 1.0))) == []
    assert Archive.open(old).times == [0.0, 1.0]
    assert len(list(old.with_suffix("").glob("step_*"))) == 2


def test_vectors_and_cells(lab: Any, path: Path) -> None:
    import dataclasses

    grid = dataclasses.replace(lab.grid, association="cell")
    writer = lab.set(MetaINRWriter(), FileName=str(path))
    lab.connect(writer, lab.source(lab.waves(grid, components=3)), association=1)
    writer.Write()
    archive = Archive.open(path)
    assert (archive.components, archive.grid) == (3, grid)


def bad_series(lab: Any, images: list[Any]) -> Any:
    values = lab.wave(lab.grid, 2.5)
    values[3, 2, 1] = np.nan
    images[2] = lab.image(values, lab.grid)
    return lab.source(images)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"FileName": ""}, "FileName is empty"),
        ({"FileName": "saved.vti"}, "an archive's name ends in .minr"),
        ({"FileName": "/dev/null/x.minr"}, "folder /dev/null cannot be made"),
        ({"PriorFile": "none.safetensors"}, "none.safetensors does not exist"),
        ({"Preset": "best"}, "'best'"),
        ({"Epochs": -3}, "epochs is -3"),
        ({"TargetRatio": -1.5}, "TargetRatio is -1.5"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(
    lab: Any, path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], expected: str
) -> None:
    if "Preset" in values:
        monkeypatch.undo()
    monkeypatch.chdir(path.parent)
    writer = lab.set(MetaINRWriter(), **{"FileName": str(path), **values})
    lab.connect(writer, lab.source())
    messages = lab.messages(writer)
    writer.Write()
    (message,) = messages
    assert message.startswith("ERROR: Meta-INR Writer: ")
    assert expected in message
    assert message.count("\n") == 1
    assert os.listdir(path.parent) == []


def test_bad_data_leave_what_was_there(lab: Any, path: Path) -> None:
    assert write(lab, path) == []
    before, data = volumes(path), Archive.open(path).record(2).data
    (message,) = write(lab, path, bad_series(lab, lab.waves()))
    assert "step 2 (time 2.5) of the input" in message
    assert "non-finite" in message
    assert "IgnoreNonfinite" in message
    np.testing.assert_array_equal(volumes(path), before)
    assert sorted(os.listdir(path.parent)) == ["saved", "saved.minr"]
    assert write(lab, path, bad_series(lab, lab.waves()), IgnoreNonfinite=1) == []
    assert Archive.open(path).record(2).data != data


def test_a_stop_leaves_what_was_there(lab: Any, path: Path) -> None:
    writer = lab.set(MetaINRWriter(), FileName=str(path))
    lab.connect(writer, lab.source())
    seen: list[float] = []

    def watch(caller: Any, _event: str) -> None:
        seen.append(caller.GetProgress())
        if seen[-1] > 0.5:
            caller.SetAbortExecute(1)

    writer.AddObserver("ProgressEvent", watch)
    messages = lab.messages(writer)
    writer.Write()
    assert len(messages) == 1
    assert "stopped" in messages[0]
    assert seen == sorted(seen)
    assert os.listdir(path.parent) == []
