"""Odd series in ParaView: from Pretrain to Decode, or one clear line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vtkmodules")
from metainr_core.vti import make_image, write_image, write_pvd
from tests.odd_data import Case, cases

# As in a shell's folder: XML entities, wildcards, a percent sign and Unicode.
FOLDER = "ζ folder's [1] 50% #"
# ParaView's reader of .pvd files has sorted the times, and made equal ones one.
CASES = {n: c for n, c in cases().items() if c.files and n not in ("unsorted times", "equal times")}
REFUSED = {
    "two partitions": "vtkPartitionedDataSet with 2 pieces; expected one image: choose one with Ex",
    "two blocks": "vtkMultiBlockDataSet with 2 pieces; .* or apply Resample To Image first",
    "blocks of other grids": "vtkRectilinearGrid; expected image data .* apply Resample To Image",
    "RectilinearGrid": "vtkRectilinearGrid; expected image data .* apply Resample To Image first",
    "StructuredGrid": "vtkStructuredGrid; expected image data .* apply Resample To Image first",
    "UnstructuredGrid": "vtkUnstructuredGrid; expected image data .* apply Resample To Image first",
    "PolyData": "vtkPolyData; expected image data .* apply Resample To Image first",
    "Table": "vtkTable; expected image data",
    "OverlappingAMR": "vtkOverlappingAMR without data; expected an image",
    "ImageData": "the input is empty",
}
IMAGES = ("vtkUniformGrid", "blanked", "partitioned", "collection", "multi-block")


def write(case: Case, folder: Path) -> Path:
    folder.mkdir(parents=True)
    names = [f"step {n} %d #1.vti" for n in range(len(case.volumes))]
    for file, volume in zip(names, case.volumes, strict=True):
        values = volume if volume.ndim == 4 else volume[..., None]
        write_image(make_image(values, case.grid, case.array), folder / file)
    write_pvd(folder / "a series.pvd", names, case.times)
    return folder / "a series.pvd"


@pytest.fixture(scope="module")
def found(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if shutil.which("pvpython") is None:
        pytest.skip("pvpython is not installed")
    folder = tmp_path_factory.mktemp("odd") / FOLDER
    given = {
        name: (
            str(write(case, folder / str(number))), case.array,
            f"{case.grid.association.upper()}S", case.ignore,
        )
        for number, (name, case) in enumerate(CASES.items())
    }  # fmt: skip
    (folder / "cases.json").write_text(json.dumps(given))
    (folder / "out").mkdir()
    return lab.drive("drive_odd_data.py", folder / "cases.json", folder / "out")


def only(lines: Sequence[str], kind: str, message: str) -> None:
    assert len(lines) == 1, lines
    assert re.search(rf"^{kind}: Meta-INR \w+: .*{message}", lines[0]), lines


@pytest.mark.parametrize("name", CASES)
def test_series(found: dict[str, Any], name: str) -> None:
    case, got = CASES[name], found[name]
    if case.refused:
        stage = next(s for s in ("pretrain", "encode") if got.get(s))
        only(got[stage], "ERROR", case.refused)
        assert got["psnr"] == []
        return
    for stage in ("pretrain", "encode"):
        if case.warned and stage in case.by:
            only(got[stage], "WARNING", case.warned)
        else:
            assert got[stage] == []
    assert got["times"] == sorted(case.times)
    ours, theirs = got["extents"]
    assert ours == theirs == list(case.grid.extent)
    assert got["bounds"][0] == pytest.approx(got["bounds"][1])
    assert len(got["psnr"]) == len(case.volumes)
    if not case.warned and not case.ignore:
        assert len(got["errors"]) == 2, "of the first and the last step"
        assert got["errors"] == pytest.approx(got["max_error"], rel=1e-3)


@pytest.mark.parametrize("name", REFUSED)
def test_other_data_is_refused_in_one_line(found: dict[str, Any], name: str) -> None:
    only(found[name]["pretrain"], "ERROR", REFUSED[name])
    assert found[name]["rounds"] == 0


@pytest.mark.parametrize("name", IMAGES)
def test_one_image_is_one_image_however_it_is_wrapped(found: dict[str, Any], name: str) -> None:
    got = found[name]
    assert got["rounds"] == 8
    assert got["accepts"], "ParaView's menu does not offer the filter"
    told = [*got["pretrain"], *got["encode"]]
    assert len(got["psnr"]) == 1
    if name == "blanked":
        assert len(told) == 2
        assert all("1 points are blanked (vtkGhostType); their values" in line for line in told)
    else:
        assert told == []


def test_without_input_vtk_says_so(found: dict[str, Any]) -> None:
    lines = found["no input"]["pretrain"]
    assert lines
    assert all("has 0 connections but is not optional" in line for line in lines)


def test_a_tilde_is_the_home(found: dict[str, Any]) -> None:
    assert found["home"]
