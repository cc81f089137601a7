"""``metainr project``: table, picture, selection, and one line for bad input."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from metainr_core.archive import Archive
from metainr_core.cli import main
from metainr_core.projection import project
from metainr_core.selection import select_steps
from tests.core.archives import HEADER, INFO, networks, record

pytest.importorskip("sklearn")
Capture = pytest.CaptureFixture[str]
MEMBERS = [
    {"name": "slow", "first": 0, "count": 7, "parameters": {"Re": 160, "inlet": "jet"}},
    {"name": "fast", "first": 7, "count": 5, "parameters": {"Re": 320}},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with an archive of 12 steps and the same as an ensemble."""
    for name, more in (("run", {}), ("both", {"members": MEMBERS})):
        archive = Archive.create(tmp_path / f"{name}.minr", HEADER, {**INFO, **more})
        start = networks(100)
        for step in range(12):
            pairs = zip(start.tensors, networks(step).tensors, strict=True)
            moved = start.with_tensors([(1 + step / 9) * a + 0.2 * b for a, b in pairs])
            archive.write_step(record(step), moved)
        archive.write_index()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert main(["project", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report = json.loads(captured.out, parse_constant=pytest.fail)
    assert isinstance(report, dict)
    return report


def table(name: str) -> list[dict[str, str]]:
    with open(name, newline="") as file:
        return list(csv.DictReader(file))


def test_a_map_of_a_run(folder: Path, capsys: Capture) -> None:
    report = run(capsys, "run.minr", "-o", "new/map.csv")
    rows = table("new/map.csv")
    assert list(rows[0]) == ["step", "time", "member", "x", "y", "selected"]
    found = project(Archive.open("run.minr"))
    assert [float(row["x"]) for row in rows] == found.x.tolist()
    assert [float(row["y"]) for row in rows] == found.y.tolist()
    assert [float(row["time"]) for row in rows] == [s / 2 for s in range(12)]
    assert {row["selected"] for row in rows} == {"0"}
    assert report["method"] == "tsne"
    assert report["perplexity"] == pytest.approx(11 / 3)
    assert [step["x"] for step in report["steps"]] == found.x.tolist()
    assert not {"selected", "picture", "explained_variance"} & set(report)
    assert sorted(p.name for p in folder.rglob("map*")) == ["map.csv"]


def test_steps_of_an_ensemble_that_decode_takes(folder: Path, capsys: Capture) -> None:
    report = run(capsys, "both.minr", "-o", "map.csv", "--method", "pca", "--select", "3")
    found = project(Archive.open("both.minr"), "pca")
    assert report["selected"] == select_steps(found, 3)
    assert report["explained_variance"] == list(found.explained_variance)
    assert report["members"] == ["slow", "fast"]
    rows = table("map.csv")
    assert [int(r["step"]) for r in rows if r["selected"] == "1"] == report["selected"]
    assert [r["Re"] for r in rows] == ["160.0"] * 7 + ["320.0"] * 5
    assert [r["inlet"] for r in rows] == ["jet"] * 7 + [""] * 5
    pytest.importorskip("vtkmodules.vtkIOXML")
    for name, steps in (("slow", report["selected"][:3]), ("fast", report["selected"][3:])):
        (command,) = [c for c in report["to_decode"] if name in c]
        assert main([*shlex.split(command)[1:], "--json", "--overwrite"]) == 0
        assert json.loads(capsys.readouterr().out)["steps"] == steps


def test_the_selected_steps_of_a_run_are_decoded(folder: Path, capsys: Capture) -> None:
    pytest.importorskip("vtkmodules.vtkIOXML")
    report = run(capsys, "run.minr", "-o", "map.csv", "--select", "4")
    (command,) = report["to_decode"]
    assert main([*shlex.split(command)[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == report["selected"]


def test_people_get_the_selected_steps(folder: Path, capsys: Capture) -> None:
    assert main(["project", "run.minr", "-o", "map.csv", "--select", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    chosen = [row["step"] for row in table("map.csv") if row["selected"] == "1"]
    assert lines[-5].split() == ["step", "time", "member", "x", "y", "selected"]
    assert [line.split()[0] for line in lines[-4:]] == chosen
    assert f"selected          {', '.join(chosen)}" in lines
    assert main(["project", "run.minr", "-o", "map.csv", "--steps", "2:7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-5:]] == list("23456")


@pytest.mark.parametrize("color", ["time", "Re", "inlet"])
def test_a_picture(folder: Path, capsys: Capture, color: str) -> None:
    pytest.importorskip("matplotlib")
    flags = ["--method", "pca", "--png", "map.png", "--select", "3", "--color", color]
    report = run(capsys, "both.minr", "-o", "map.csv", *flags)
    assert report["picture"] == "map.png"
    assert (folder / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run.minr", "-o", "map.txt"], "map.txt: expected a name that ends in .csv"),
        (["run.minr", "-o", "map.csv", "--png", "map.pdf"], "map.pdf: expected a name that ends"),
        (
            ["run.minr", "-o", "map.csv", "--select", "1"],
            "select is 1; expected 2 to 12, all steps",
        ),
        (
            ["both.minr", "-o", "map.csv", "--select", "6"],
            'expected 2 to 5, all steps of member "f',
        ),
        (
            ["run.minr", "-o", "map.csv", "--perplexity", "12"],
            "perplexity is 12; expected 0 (chosen",
        ),
        (
            ["both.minr", "-o", "map.csv", "--png", "map.png", "--color", "re"],
            "color is 're', which the steps do not have; one of time, Re, inlet",
        ),
        (["run.minr", "-o", "map.csv", "--steps", "3,40"], "run.minr holds no step 40; it holds"),
        (["no.minr", "-o", "map.csv"], "no.minr does not exist"),
        (["run.minr", "-o", "run.minr/map.csv"], "run.minr cannot be made"),
        (["run.minr"], "the following arguments are required: -o/--output"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    pytest.importorskip("matplotlib")
    before = sorted(folder.rglob("*"))
    assert main(["project", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("metainr: error: ")
    assert captured.err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_only_maps_are_replaced(folder: Path, capsys: Capture) -> None:
    (folder / "data.csv").write_text("Re,FILE\n160,a.pvd\n")
    assert main(["project", "run.minr", "-o", "data.csv"]) == 2
    assert "data.csv exists and is no map of metainr project" in capsys.readouterr().err
    assert (folder / "data.csv").read_text() == "Re,FILE\n160,a.pvd\n"
    for steps in ("0:6", "0:8"):
        run(capsys, "run.minr", "-o", "map.csv", "--steps", steps)
    assert len(table("map.csv")) == 8


@pytest.mark.parametrize("name", ["map.csv", "./map.csv", "map.png"])
def test_a_report_goes_elsewhere(folder: Path, capsys: Capture, name: str) -> None:
    outputs = ["-o", "map.csv", "--png", "map.png"]
    assert main(["project", "run.minr", *outputs, "--json", name]) == 2
    assert f"--json {name}: the results go there too" in capsys.readouterr().err
    assert not list(folder.glob("map.*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--color", "Re"], "--color is of the picture, and --png is not given"),
        (["--method", "pca", "--perplexity", "3"], "--perplexity is of t-SNE, and --method is pca"),
    ],
)
def test_flags_that_would_do_nothing(
    folder: Path, capsys: Capture, flags: list[str], message: str
) -> None:
    assert main(["project", "both.minr", "-o", "map.csv", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "map.csv").exists()
