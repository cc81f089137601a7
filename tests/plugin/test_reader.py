"""Meta-INR Reader: files that are none, that are put right, and which reader opens which."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.reader import MetaINRFlatReader, MetaINRReader
from metainr_paraview.tables import field_text

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.series import ArraySeries


@pytest.fixture
def path(encoded: Any) -> Path:
    """An archive of four steps."""
    return Path(encoded.GetArchiveFile())


def open_archive(lab: Any, path: Path) -> tuple[Any, list[str]]:
    """The reader, and what it says from now on."""
    reader = lab.set(MetaINRReader(), FileName=str(path))
    return reader, lab.messages(reader)


def update(reader: Any) -> Any:
    """Its image."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        reader.Update()
    return reader.GetOutputDataObject(0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "run.minr is damaged (Expecting value: line 1 column 1 (char 0))"),
        (b"hello\nworld\n", "run.minr is no .minr archive; choose a file that"),
        (bytes(range(256)) * 20, "run.minr is no .minr archive"),
        (b'{"a": 1}', "run.minr is no .minr archive"),
        (200, "run.minr is damaged ("),
        (2000, "run.minr is damaged ("),
    ],
)
def test_a_bad_index_and_its_repair(
    lab: Any, path: Path, content: bytes | int, expected: str
) -> None:
    good = path.read_bytes()
    path.write_bytes(good[:content] if isinstance(content, int) else content)
    reader, messages = open_archive(lab, path)
    image = update(reader)
    (message,) = messages
    assert expected in message
    assert message.count("\n") == 1
    assert image.GetNumberOfPoints() == 0
    assert expected in field_text(image, ERROR_ARRAY)
    path.write_bytes(good)
    reader.Modified()
    np.testing.assert_array_equal(lab.values(update(reader)), Archive.open(path).decode(0))
    assert len(messages) == 1


def test_a_missing_folder_and_its_return(lab: Any, path: Path, tmp_path: Path) -> None:
    folder, away = path.with_suffix(""), tmp_path / "away"
    folder.rename(away)
    reader, messages = open_archive(lab, path)
    assert update(reader).GetNumberOfPoints() == 0
    assert len(messages) == 1
    assert f"folder {folder} is missing; it has to lie beside {path}" in messages[0]
    away.rename(folder)
    reader.Modified()
    assert update(reader).GetNumberOfPoints() > 0
    assert len(messages) == 1


def test_missing_steps_are_told_once(lab: Any, path: Path) -> None:
    for step in (1, 2):
        (path.with_suffix("") / f"step_{step:06d}.safetensors").unlink()
    reader, messages = open_archive(lab, path)
    assert update(reader).GetNumberOfPoints() > 0
    keys = reader.GetExecutive()
    assert reader.GetOutputInformation(0).Get(keys.TIME_STEPS()) == (0.5, 3.0)
    reader.UpdateTimeStep(3.0)
    assert messages == [
        f"WARNING: Meta-INR Reader: {path}: the files of steps 1, 2 are missing; left out\n"
    ]


def test_an_archive_without_any_step(lab: Any, path: Path) -> None:
    for file in path.with_suffix("").glob("step_*"):
        file.unlink()
    reader, messages = open_archive(lab, path)
    assert update(reader).GetNumberOfPoints() == 0
    (message,) = messages
    assert f"the files of all of its steps are missing in {path.with_suffix('')}" in message


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("step_000000.safetensors", 0),
        ("step_000000.safetensors", 300),
        ("prior.safetensors", None),
        ("prior.safetensors", 0),
        ("prior.safetensors", 300),
    ],
)
def test_bad_files_of_the_folder(lab: Any, path: Path, name: str, size: int | None) -> None:
    file = path.with_suffix("") / name
    data = file.read_bytes()
    file.unlink() if size is None else file.write_bytes(data[:size])
    reader, messages = open_archive(lab, path)
    update(reader)
    image = update(reader)
    (message,) = messages
    assert str(file) in message
    assert message.count("\n") == 1
    assert image.GetNumberOfPoints() == 0
    file.write_bytes(data)
    reader.Modified()
    assert update(reader).GetNumberOfPoints() > 0
    assert len(messages) == 1


def test_a_directory(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.minr"
    path.mkdir()
    reader, messages = open_archive(lab, path)
    update(reader)
    (message,) = messages
    assert f"{path} cannot be read: it is no file, but a folder" in message


def test_one_archive_twice(lab: Any, path: Path) -> None:
    (first, one), (second, two) = open_archive(lab, path), open_archive(lab, path)
    first.UpdateTimeStep(3.0)
    second.UpdateTimeStep(0.5)
    archive = Archive.open(path)
    for reader, step in ((first, 3), (second, 0)):
        values = lab.values(reader.GetOutputDataObject(0))
        np.testing.assert_array_equal(values, archive.decode(step))
    assert not one
    assert not two


@pytest.mark.parametrize(
    ("dims", "association", "flat", "expected"),
    [
        ((8, 7, 6), "point", (), "volume"),
        ((8, 7, 1), "point", (), "flat"),
        ((1, 7, 1), "point", (), "flat"),
        ((8, 7, 1), "cell", (), "volume"),
        ((8, 7, 1), "cell", (False, False, True), "flat"),
    ],
)
def test_the_reader_that_file_open_takes(
    lab: Any, tmp_path: Path, dims: Any, association: str, flat: Any, expected: str
) -> None:
    grid = dataclasses.replace(
        lab.grid, dims=dims, association=association, flat=flat or (False,) * 3
    )
    waves = [np.zeros((*dims[::-1], 1), np.float32)]
    config = EncodeConfig(siren=SirenConfig(4, 1), init="random", epochs=1, batch_size=64)
    encode(ArraySeries(waves, grid=grid), tmp_path / "run.minr", config=config)
    path = str(tmp_path / "run.minr")
    readers = {"volume": MetaINRReader(), "flat": MetaINRFlatReader()}
    assert [n for n, reader in readers.items() if reader.CanReadFile(path)] == [expected]


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"grid": 3}', b'{"grid": {"dims": "x"}}'])
def test_what_is_no_archive_is_for_the_reader_of_volumes(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "run.minr"
    if content is not None:
        path.write_bytes(content)
    assert MetaINRReader().CanReadFile(str(path))
    assert not MetaINRFlatReader().CanReadFile(str(path))
