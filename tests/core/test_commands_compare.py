"""``metainr compare`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_core.archive import Archive
from metainr_core.cli import main
from metainr_core.config import EncodeConfig
from metainr_core.encoding import encode
from metainr_core.metrics import Errors
from metainr_core.series import ArraySeries, Series
from metainr_core.vti import make_image, write_image, write_pvd


def write(series: Series, path: Path) -> None:
    files = []
    for step in range(len(series)):
        files.append(f"{path.stem}_{step}.vti")
        image = make_image(series.read(step), series.grid, series.array)
        write_image(image, path.parent / files[-1])
    write_pvd(path, files, series.times)


@pytest.fixture
def folder(
    make_series: Any, quick: EncodeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    series = make_series(steps=3)
    write(series, tmp_path / "run.pvd")
    write(make_series(steps=3, phase=0.1), tmp_path / "other.pvd")
    encode(series, tmp_path / "run.minr", config=quick, steps=[0, 2])
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["compare", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_archive(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "run.pvd", "run.minr", "--isovalue", "0.25", "0", "--isovalue", "9")
    archive = Archive.open("run.minr")
    assert found["compared"] == "2 of 3 steps"
    assert found["isovalues"] == [0.25, 0, 9]
    assert [row["step"] for row in found["steps"]] == [0, 2]
    for row in found["steps"]:
        record = archive.record(row["step"])
        assert row["psnr"] == pytest.approx(record.psnr)
        assert row["psnr_series"] == pytest.approx(record.psnr_series)
        assert row["max_error"] == pytest.approx(record.max_error)
        assert [s["note"] for s in row["isosurfaces"]] == ["", "", "neither reaches it"]
    distances = [s["chamfer_voxels"] for r in found["steps"] for s in r["isosurfaces"][:2]]
    assert found["mean_chamfer_voxels"] == pytest.approx(np.mean(distances))
    assert found["mean_ssim"] == pytest.approx(np.mean([r["ssim"] for r in found["steps"]]))


def test_another_series(folder: Path, make_series: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "run.pvd", "other.pvd", "--steps", "1:")
    assert found["grids"] == "one grid"
    assert [row["step"] for row in found["steps"]] == [1, 2]
    errors = Errors.between(make_series(steps=3).read(1), make_series(steps=3, phase=0.1).read(1))
    assert found["steps"][0]["mean_error"] == pytest.approx(errors.mean)
    assert len(found["steps"][0]["isosurfaces"]) == 3


def test_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "run.pvd", "run.pvd", "--isovalue", "0.2", "9"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()[-4:]
    assert head.split() == [
        "step", "time", "psnr", "psnr_series", "ssim", "mean_error", "max_error",
        "chamfer", "0.2", "chamfer", "9",
    ]  # fmt: skip
    assert [r.split() for r in rows] == [
        [str(s), str(s), "exact", "exact", "1", "0", "0", "0", "none"] for s in range(3)
    ]


def test_json_goes_to_a_file_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "run.pvd", "run.minr", "--json", "out.json"]) == 0
    assert "mean_ssim" in capsys.readouterr().out
    assert len(json.loads((folder / "out.json").read_text())["steps"]) == 2


def test_lpips_that_cannot_be_measured_is_a_text(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(folder))
    found = run(capsys, "run.pvd", "run.minr", "--lpips", "--isovalue", "0")
    assert "mean_lpips" not in found
    for row in found["steps"]:
        assert row["lpips"].startswith("unavailable: LPIPS needs")
    assert main(["compare", "run.pvd", "run.minr", "--lpips"]) == 0
    out = capsys.readouterr().out
    assert out.count("unavailable: LPIPS needs") == 1  # said once, above the table
    assert out.splitlines()[-1].split()[7] == "-"


def test_of_several_arrays_the_archives_is_taken(
    folder: Path, make_series: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    both = make_series(steps=3)
    files = []
    for step in range(3):
        image = make_image(both.read(step), both.grid, both.array)
        other = make_image(both.read(step) + 1, both.grid, "other")
        image.GetPointData().AddArray(other.GetPointData().GetArray(0))
        files.append(f"both_{step}.vti")
        write_image(image, folder / files[-1])
    write_pvd(folder / "both.pvd", files, both.times)
    found = run(capsys, "both.pvd", "run.minr")
    assert found["array"] == "values"
    assert found["steps"] == run(capsys, "run.pvd", "run.minr")["steps"]
    forced = run(capsys, "both.pvd", "run.minr", "--array", "other")
    assert forced["array"] == "other, of the archive values"


@pytest.mark.parametrize("name", ["run.minr", "run.pvd", "run_0.vti", "run", "dataset.json"])
def test_only_reports_are_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / "dataset.json").write_text('{"name": "flow"}')
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["compare", "run.pvd", "run.minr", "--json", name]) == 2
    assert f"--json {name}: it exists and is no report of metainr" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    for _ in range(2):
        assert main(["compare", "run.pvd", "run.minr", "--steps", "0", "--json", "new"]) == 0


@pytest.mark.filterwarnings("always::metainr_core.errors.MetaINRWarning")
def test_missing_files_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run" / "step_000002.safetensors").unlink()
    assert main(["compare", "run.pvd", "run.minr", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["compared"] == "1 of 3 steps"
    assert err == "metainr: run.minr: the files of step 2 are missing; left out\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run.pvd", "none.minr"], "none.minr does not exist"),
        (["run.pvd", "none.pvd"], "none.pvd cannot be read: No such file or directory"),
        (["run.pvd", "run.minr", "--steps", "1"], "step 1 is not in both; in both are steps 0, 2"),
        (["run.pvd", "run.minr", "--isovalue", "x"], "argument --isovalue: invalid float value"),
        (["run.pvd", "run.minr", "--isovalue", "nan"], "isovalue is nan; expected finite"),
        (["run.pvd", "run.minr", "--backbone", "a.pth"], "--backbone is given, but not --lpips"),
        (["run.minr", "run.pvd"], "run.minr is an archive; name the original series first"),
        (["run.pvd", "run.minr", "--array", "lost"], 'no array "lost"; its arrays: values (point)'),
        (["run.pvd"], "the following arguments are required: RUN.minr|OTHER_SERIES"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["compare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_constant_reference_has_no_psnr_and_says_why(
    folder: Path, make_series: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [make_series(steps=1).read(0) * factor for factor in (np.float32(1), np.float32(0))]
    write(ArraySeries(steps), folder / "a.pvd")
    write(ArraySeries([step + np.float32(0.5) for step in steps]), folder / "b.pvd")
    found = run(capsys, "a.pvd", "b.pvd")
    reason = "the reference is constant there, which leaves no range for a PSNR"
    assert found["note"] == f"step 1: {reason}"
    first, second = found["steps"]
    assert "note" not in first
    assert (second["psnr"], second["note"]) == (None, reason)
    assert second["psnr_series"] == pytest.approx(first["psnr_series"])
    assert "note" not in run(capsys, "a.pvd", "a.pvd"), "nothing is missing where nothing differs"
    main(["compare", "a.pvd", "b.pvd"])
    shown = capsys.readouterr().out
    assert f"step 1: {reason}" in shown
    assert "note" not in shown.splitlines()[-3], "the table has no such column"
