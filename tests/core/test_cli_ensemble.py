"""An ensemble on the command line: from a table to the volumes of each member."""

from __future__ import annotations

from pathlib import Path

import pytest

import metainr_core
from metainr_core.archive import Archive
from metainr_core.cli import main
from metainr_core.metrics import Errors
from tests.core.command_line import (
    ENCODE,
    NETWORK,
    PRETRAIN,
    Capture,
    Maker,
    fails,
    run,
    write_dataset,
)

pytest.importorskip("vtkmodules.vtkIOXML")


@pytest.fixture
def folder(tmp_path: Path, make_series: Maker, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with ``data.csv`` for runs of 3 and 4 steps."""
    for name, steps, phase in (("a", 3, 0.0), ("b", 4, 1.0)):
        write_dataset(tmp_path / name, make_series(steps=steps, phase=phase))
    (tmp_path / "data.csv").write_text("Re,FILE\n160,a\n320,b\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_a_table_to_volumes(folder: Path, capsys: Capture) -> None:
    learned = run(capsys, "pretrain", "data.csv", "-o", "p.safetensors", *NETWORK, *PRETRAIN)
    assert learned["kind"] == "meta"
    flags = ["--prior", "p.safetensors", *ENCODE, "--init", "previous", "--key-interval", "2"]
    encoded = run(capsys, "encode", "data.csv", "-o", "run.minr", *flags)
    assert [row["member"] for row in encoded["steps"]] == ["Re 160"] * 3 + ["Re 320"] * 4
    assert [row["epochs"] for row in encoded["steps"]] == [8, 2, 8, 8, 2, 8, 2]
    first, second = encoded["members"]
    assert (first["name"], first["parameters"], first["encoded"]) == ("Re 160", {"Re": 160}, 3)
    assert (second["first"], second["count"]) == (3, 4)
    mean = sum(row["psnr_series"] for row in encoded["steps"][3:]) / 4
    assert second["mean_psnr_series"] == pytest.approx(mean)
    assert run(capsys, "info", "run.minr") == encoded

    decoded = run(capsys, "decode", "run.minr", "-o", "b.pvd", "--member", "Re 320")
    assert (decoded["member"], decoded["steps"]) == ("Re 320", [3, 4, 5, 6])
    again, original = metainr_core.open_series("b.pvd"), metainr_core.open_series("b")
    assert again.times == (0, 1, 2, 3)
    for step in range(4):
        errors = Errors.between(original.read(step), again.read(step))
        assert errors.largest == pytest.approx(encoded["steps"][3 + step]["max_error"], rel=1e-5)


def test_people_get_a_line_for_each_member(folder: Path, capsys: Capture) -> None:
    run(capsys, "encode", "data.csv", "-o", "run.minr", *NETWORK, *ENCODE, "--steps", "0,1,4")
    assert main(["info", "run.minr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("members "))
    assert "name Re 160, first 0, count 3, parameters Re 160, encoded 2" in lines[place]
    assert "name Re 320, first 3, count 4, parameters Re 320, encoded 1" in lines[place + 1]
    assert lines[-4].split()[-1] == "member"
    assert lines[-1].endswith("Re 320")


def test_steps_are_the_archives(folder: Path, capsys: Capture) -> None:
    run(capsys, "encode", "data.csv", "-o", "run.minr", *NETWORK, *ENCODE)
    decode = ["decode", "run.minr", "-o", "out.pvd", "--overwrite", "--member"]
    for text, steps in (("::2", [3, 5]), ("4:", [4, 5, 6]), ("0:5", [3, 4]), ("5,3", [3, 5])):
        assert run(capsys, *decode, "Re 320", "--steps", text)["steps"] == steps
    assert run(capsys, *decode, "Re 160", "--steps", "-2:")["steps"] == [1, 2]
    files = sorted(path.name for path in (folder / "out").iterdir())
    assert files[:2] == ["step_000001.vti", "step_000002.vti"]


def test_bad_input_is_one_line(folder: Path, capsys: Capture) -> None:
    run(capsys, "encode", "data.csv", "-o", "run.minr", *NETWORK, *ENCODE, "--steps", "0:3")
    run(capsys, "encode", "a", "-o", "a.minr", *NETWORK, *ENCODE)
    (folder / "bad.csv").write_text("Re,FILE\n160,a\n320,none.pvd\n")
    decode = ["decode", "run.minr", "-o", "out.pvd"]
    for arguments, message in [
        (["encode", "bad.csv", "-o", "b.minr"], 'bad.csv, line 3, member "Re 320"'),
        (["encode", "none.csv", "-o", "b.minr"], "none.csv cannot be read"),
        (["encode", "a", "-o", "run.minr", *NETWORK, *ENCODE], 'is of member "Re 160" (Re 160)'),
        (decode, 'has several members: "Re 160", "Re 320"; choose one with --member'),
        ([*decode, "--member", "Re 1"], 'its members: "Re 160", "Re 320"'),
        ([*decode, "--member", "Re 320"], 'no step of member "Re 320" (Re 320) yet'),
        ([*decode, "--member", "Re 160", "--steps", "5"], "has steps 0 to 2"),
        (["decode", "a.minr", "-o", "out.pvd", "--member", "a"], "is no ensemble"),
    ]:
        assert message in fails(capsys, *arguments)
    assert not (folder / "out.pvd").exists()
    assert not Archive.exists("b.minr")
