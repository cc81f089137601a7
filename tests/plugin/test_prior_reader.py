"""Meta-INR Prior Reader: the table of a prior, and what is no prior."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vtkmodules")
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.history import COLUMNS, PRIOR_ARRAY
from metainr_paraview.prior_reader import MetaINRPriorReader
from metainr_paraview.tables import field_text

from metainr_core.prior import Prior


def read(lab: Any, path: Path) -> tuple[Any, list[str]]:
    """The reader, updated, and what it said."""
    reader = lab.set(MetaINRPriorReader(), FileName=str(path))
    messages = lab.messages(reader)
    reader.Update()
    return reader, messages


def test_the_history_and_the_settings(lab: Any, prior_file: Path) -> None:
    reader, messages = read(lab, prior_file)
    assert not messages
    table, prior = reader.GetOutputDataObject(0), Prior.load(prior_file)
    assert [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())] == list(COLUMNS)
    for name in COLUMNS:
        assert lab.column(table, name) == [row[name] for row in prior.history]
    assert field_text(table, PRIOR_ARRAY) == str(prior_file)
    assert [field_text(table, n) for n in ("array", "kind", "outer")] == [
        "speed",
        "meta",
        "reptile",
    ]
    data = table.GetFieldData()
    numbers = {n: data.GetArray(n).GetValue(0) for n in ("width", "outer_steps", "voxel_share")}
    assert numbers == {"width": 8, "outer_steps": 3, "voxel_share": prior.voxel_share}


def test_it_is_what_pretrain_gives(lab: Any, prior_file: Path) -> None:
    from metainr_paraview.pretrain import MetaINRPretrain

    pretrain = lab.set(MetaINRPretrain(), PriorFile=str(prior_file), **lab.quick_pretrain)
    lab.connect(pretrain, lab.source()).Update()
    mine, its = read(lab, prior_file)[0].GetOutputDataObject(0), pretrain.GetOutputDataObject(0)
    assert mine.GetNumberOfRows() == its.GetNumberOfRows() == 3
    for name in COLUMNS:
        assert lab.column(mine, name) == lab.column(its, name)
    names = [
        [d.GetArrayName(i) for i in range(d.GetNumberOfArrays())]
        for d in (mine.GetFieldData(), its.GetFieldData())
    ]
    assert names[0] == names[1]


def test_an_archives_copy_has_no_history(lab: Any, encoded: Any) -> None:
    path = Path(encoded.GetArchiveFile()).with_suffix("") / "prior.safetensors"
    reader, messages = read(lab, path)
    (message,) = messages
    assert message.startswith("WARNING: Meta-INR Prior Reader: ")
    assert "is an archive's copy of a prior, which keeps no training history" in message
    table = reader.GetOutputDataObject(0)
    assert (table.GetNumberOfRows(), table.GetNumberOfColumns()) == (0, len(COLUMNS))
    assert field_text(table, "array") == "speed"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is damaged or no safetensors file"),
        (b"hello\nworld\n", "is damaged or no safetensors file"),
        (bytes(range(256)) * 9, "is damaged or no safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{}", "was not written by Meta-INR"),
        (None, "does not exist"),
    ],
)
def test_files_that_are_none(
    lab: Any, tmp_path: Path, prior_file: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "p.safetensors"
    if content is not None:
        path.write_bytes(content)
    reader, messages = read(lab, path)
    (message,) = messages
    assert f"{path} {expected}" in message
    assert "choose a file that Meta-INR Pretrain or metainr pretrain wrote" in message
    assert message.count("\n") == 1
    assert field_text(reader.GetOutputDataObject(0), ERROR_ARRAY)
    shutil.copy(prior_file, path)
    reader.Modified()
    reader.Update()
    assert len(messages) == 1
    assert reader.GetOutputDataObject(0).GetNumberOfRows() == 3


def test_a_truncated_one(lab: Any, tmp_path: Path, prior_file: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(prior_file.read_bytes()[:-100])
    (message,) = read(lab, path)[1]
    assert f"{path} is damaged or no safetensors file" in message


def test_a_time_step_says_what_to_open(lab: Any, encoded: Any) -> None:
    archive = Path(encoded.GetArchiveFile())
    (message,) = read(lab, archive.with_suffix("") / "step_000001.safetensors")[1]
    assert f"is a time step of an archive, not a prior; open {archive} instead" in message


def test_no_name(lab: Any) -> None:
    reader = MetaINRPriorReader()
    messages = lab.messages(reader)
    reader.Update()
    assert messages == [
        "ERROR: Meta-INR Prior Reader: FileName is empty; choose a .safetensors file\n"
    ]
