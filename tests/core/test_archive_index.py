"""The index: what it says, and what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metainr_core.archive import FORMAT_VERSION, Archive
from metainr_core.errors import ArchiveError
from metainr_core.series import ArraySeries
from metainr_core.storage import read_metadata
from tests.core.archives import HEADER, INFO, networks, record, strict_json

Maker = Callable[..., ArraySeries]


def test_names_are_those_of_the_format(archive: Archive) -> None:
    assert archive.folder.name == "run"
    assert {p.name for p in archive.folder.iterdir()} == {
        f"step_{step:06d}.safetensors" for step in range(3)
    }
    index = strict_json(archive.path)
    assert (index["format"], index["version"]) == ("minr", FORMAT_VERSION)
    assert index["grid"]["dims"] == [6, 5, 4]
    assert index["bricks"]["shape"] == [4, 5, 6]
    assert index["array"] == "speed"
    assert [row["step"] for row in index["steps"]] == [0, 1, 2]


def test_no_infinity_gets_into_the_files(archive: Archive) -> None:
    exact = record(3, mean_squared_error=0.0, psnr=np.inf, psnr_series=np.inf, max_error=0.0)
    archive.write_step(exact, networks(3))
    flat = record(4, psnr=-np.inf, value_low=(1.0,), value_high=(1.0,))
    archive.write_step(flat, networks(4))
    archive.write_index()
    rows = strict_json(archive.path)["steps"]
    assert [row["psnr"] is None for row in rows] == [False] * 3 + [True] * 2
    opened = Archive.open(archive.path)
    assert opened.record(3).psnr == opened.record(3).psnr_series == np.inf
    assert opened.record(4).psnr == -np.inf
    json.dumps(read_metadata(opened.step_path(3)), allow_nan=False)


@pytest.mark.parametrize("name", ["run", "run.pvd", "run.minr.txt", "run.MINR"])
def test_the_name_ends_in_minr(tmp_path: Path, name: str) -> None:
    for function in (Archive.open, Archive.exists):
        with pytest.raises(ArchiveError, match=r"an archive's name ends in \.minr"):
            function(tmp_path / name)
    with pytest.raises(ArchiveError, match=r"ends in \.minr"):
        Archive.create(tmp_path / name, HEADER, INFO)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.minr"
    with pytest.raises(ArchiveError, match="does not exist"):
        Archive.open(path)
    for text, message in [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "is no .minr archive"),
        ("{}", "is no .minr archive"),
        ('{"format": "minr"}', "is damaged"),
        ('{"a": ' + "[" * 200_000, "is damaged"),
        ("\xff\xfe", "is no .minr archive"),
        ("<VTKFile/>", "is no .minr archive"),
    ]:
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(ArchiveError, match=message) as error:
            Archive.open(path)
        assert "\n" not in str(error.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(ArchiveError, match="cannot be read: it is no file, but a folder"):
        Archive.open(path)


def test_a_newer_format_is_refused(archive: Archive) -> None:
    index = strict_json(archive.path)
    index["version"] = FORMAT_VERSION + 1
    archive.path.write_text(json.dumps(index))
    with pytest.raises(ArchiveError, match=r"format version 4; this Meta-INR reads up to 3"):
        Archive.open(archive.path)
