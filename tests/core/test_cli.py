"""The command line end to end: results, exit codes, one line for bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import metainr_core
from metainr_core.archive import Archive
from metainr_core.cli import main
from metainr_core.metrics import Errors
from metainr_core.prior import Prior
from tests.core.archives import HEADER, INFO
from tests.core.command_line import (
    ENCODE,
    NETWORK,
    PRETRAIN,
    Capture,
    Maker,
    fails,
    run,
)


def test_from_series_to_volumes(folder: Path, make_series: Maker, capsys: Capture) -> None:
    pytest.importorskip("vtkmodules.vtkIOXML")
    series = make_series(steps=6)
    learned = run(capsys, "pretrain", "flow", "-o", "p.safetensors", *NETWORK, *PRETRAIN)
    assert learned["rounds"] == 3
    assert learned["kind"] == "meta"
    assert 0 < learned["voxel_share"] <= 0.05
    assert learned["network"]["width"] == 8
    assert Prior.load("p.safetensors").finished

    encoded = run(capsys, "encode", "flow", "-o", "run.minr", "--prior", "p.safetensors", *ENCODE)
    assert [row["step"] for row in encoded["steps"]] == list(range(6))
    for row in encoded["steps"]:
        for name in ("time", "psnr", "psnr_series", "max_error", "seconds", "bytes"):
            assert row[name] >= 0
    mean = np.mean([row["psnr_series"] for row in encoded["steps"]])
    assert encoded["mean_psnr_series"] == pytest.approx(mean)
    assert encoded["network"] == learned["network"]
    assert run(capsys, "info", "run.minr") == encoded
    info = run(capsys, "info", "p.safetensors")
    assert info["array"] == "speed"

    decoded = run(capsys, "decode", "run.minr", "-o", "new/out.pvd", "--steps", "1:6:2")
    assert decoded["steps"] == [1, 3, 5]
    again = metainr_core.open_series("new/out.pvd")
    assert again.array == "speed"
    assert again.times == (1.0, 3.0, 5.0)
    assert again.grid == series.grid
    for place, step in enumerate((1, 3, 5)):
        errors = Errors.between(series.read(step), again.read(place))
        assert errors.largest == pytest.approx(encoded["steps"][step]["max_error"], rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "dims"),
    [
        (["--dims", "5", "6", "7"], [5, 6, 7]),
        (["--scale", "1.5"], [18, 15, 12]),
        (["--box", "2", "5", "-1e-3", "3.5", "-1", "100"], [4, 4, 8]),
        (["--box", "2", "5", "0", "3.5", "-1", "100", "--scale", "2"], [8, 8, 16]),
    ],
)
def test_decode_on_other_grids(
    folder: Path, capsys: Capture, flags: list[str], dims: list[int]
) -> None:
    pytest.importorskip("vtkmodules.vtkIOXML")
    run(capsys, "encode", "flow", "-o", "run.minr", "--steps", "0", *NETWORK, *ENCODE)
    decoded = run(capsys, "decode", "run.minr", "-o", "out.pvd", *flags)
    assert decoded["dims"] == dims
    again = metainr_core.open_series("out.pvd")
    assert list(again.grid.dims) == dims
    archive = Archive.open("run.minr")
    assert (again.read(0) == archive.decode(0, again.grid)).all()


def test_decode_replaces_nothing_unless_told(folder: Path, capsys: Capture) -> None:
    run(capsys, "encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE)
    run(capsys, "decode", "run.minr", "-o", "out.pvd", "--steps", "0")
    before = (folder / "out" / "step_000000.vti").read_bytes()
    again = ["decode", "run.minr", "-o", "out.pvd", "--steps", "1"]
    assert "out.pvd exists and holds other steps" in fails(capsys, *again)
    assert (folder / "out" / "step_000000.vti").read_bytes() == before
    whole = ["decode", "run.minr", "-o", "out.pvd", "--scale", "2", "--overwrite"]
    (folder / "out.pvd").rename(folder / "moved.pvd")
    assert "step_000000.vti exists and is not marked" in fails(capsys, *whole)
    (folder / "moved.pvd").rename(folder / "out.pvd")
    assert (folder / "out" / "step_000000.vti").read_bytes() == before
    run(capsys, *whole)
    assert (folder / "out" / "step_000000.vti").read_bytes() != before


def test_what_is_missing_is_said(folder: Path, capsys: Capture) -> None:
    run(capsys, "encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE, "--steps", "0:3")
    assert run(capsys, "info", "run.minr")["encoded"] == "3 of 6 steps"
    (folder / "run" / "step_000001.safetensors").unlink()
    said = run(capsys, "info", "run.minr")["encoded"]
    assert said == "2 of 6 steps; the files of 1 are missing"
    assert run(capsys, "info", "run.minr")["damaged"] == []
    (folder / "run").rename(folder / "elsewhere")
    assert "folder run is missing" in fails(capsys, "info", "run.minr")


def test_damaged_files_are_named(folder: Path, capsys: Capture) -> None:
    run(capsys, "encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE)
    (folder / "run" / "step_000001.safetensors").write_bytes(b"")
    path = folder / "run" / "step_000003.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\1\0")
    report = run(capsys, "info", "run.minr")
    assert report["damaged"] == [1, 3]
    assert report["encoded"] == "6 of 6 steps; the files of 1, 3 are damaged; encode them again"
    # A rebuilt index has what is intact, and says what it had to leave out.
    (folder / "run.minr").unlink()
    report = run(capsys, "info", "run.minr")
    assert report["damaged"] == [1, 3]
    assert report["encoded"] == "4 of 6 steps; the files of 1, 3 are damaged; encode them again"
    assert main(["info", "run.minr"]) == 0
    assert "damaged           1, 3\n" in capsys.readouterr().out
    run(capsys, "encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE)
    assert run(capsys, "info", "run.minr")["damaged"] == []
    assert main(["info", "run.minr"]) == 0
    assert "damaged           none\n" in capsys.readouterr().out


def test_a_closed_pipe_is_no_error(folder: Path, capsys: Capture) -> None:
    run(capsys, "encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE)
    code = "import sys; from metainr_core.cli import main; sys.exit(main(['info', 'run.minr']))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait() == 0, errors
    assert errors == b""
    process.stderr.close()


def test_a_second_run_keeps_everything(folder: Path, capsys: Capture) -> None:
    learn = ["pretrain", "flow", "-o", "p.safetensors", *NETWORK, *PRETRAIN]
    encode = ["encode", "flow", "-o", "run.minr", "--prior", "p.safetensors", *ENCODE]
    first = run(capsys, *learn), run(capsys, *encode)
    assert (run(capsys, *learn), run(capsys, *encode)) == first


@pytest.mark.parametrize("kind", ["pretrained", "meta"])
def test_the_kind_of_the_prior_is_the_default_start(
    folder: Path, capsys: Capture, kind: str
) -> None:
    outer = "pooled" if kind == "pretrained" else "reptile"
    flags = [*NETWORK, *PRETRAIN, "--outer", outer]
    assert run(capsys, "pretrain", "flow", "-o", "p.safetensors", *flags)["kind"] == kind
    run(capsys, "encode", "flow", "-o", "run.minr", "--prior", "p.safetensors", *ENCODE)
    assert Archive.open("run.minr").info["encode"]["init"] == kind


def test_bad_input_is_one_line(folder: Path, make_series: Maker, capsys: Capture) -> None:
    run(capsys, "pretrain", "flow", "-o", "p.safetensors", *NETWORK, *PRETRAIN)
    run(capsys, "encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE)
    (folder / "file").touch()
    (folder / "bad.vti").write_text("<VTKFile")
    (folder / "bad.minr").write_text("{}")
    encode = ["encode", "flow", "-o", "other.minr"]
    for arguments, message in [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice"),
        (["encode", "flow"], "-o"),
        (["encode", "flow", "-o", "a.minr", "--epochs", "many"], "--epochs"),
        (["encode", "flow", "-o", "a.minr", "--init", "best"], "--init"),
        (["encode", "flow", "-o", "a.pvd"], "ends in .minr"),
        (["encode", "flow", "-o", "file/a.minr"], "file"),
        (["encode", "nothing.pvd", "-o", "a.minr"], "nothing.pvd"),
        (["encode", "nothing*.vti", "-o", "a.minr"], "matches no file"),
        (["encode", "flow", "--array", "heat", "-o", "a.minr"], 'no variable "heat": speed'),
        ([*encode, "--steps", "6"], "steps 0 to 5"),
        ([*encode, "--steps", "x"], "expected 0:10:2"),
        ([*encode, "--init", "meta"], "needs a prior"),
        ([*encode, "--prior", "none.safetensors"], "none.safetensors"),
        ([*encode, "--prior", "run.minr"], "run.minr"),
        ([*encode, "--prior", "p.safetensors", "--width", "9"], "the prior's network"),
        ([*encode, "--prior", "p.safetensors", "--init", "random"], "a prior is given"),
        ([*encode, "--epochs", "0"], "epochs is 0"),
        ([*encode, "--target-ratio", "1e9"], "cannot be reached"),
        (["pretrain", "flow", "-o", "file/p.safetensors"], "choose a writable folder"),
        (["pretrain", "flow", "-o", "run"], "ends in .safetensors"),
        (["pretrain", "flow", "-o", "file/p.safetensors"], "choose a writable folder"),
        (["pretrain", "flow", "-o", "run.minr"], "run.minr"),
        (["decode", "run.minr", "-o", "out"], "ends in .pvd"),
        (["decode", "none.minr", "-o", "out.pvd"], "does not exist"),
        (["decode", "bad.minr", "-o", "out.pvd"], "no .minr archive"),
        (["decode", "run.minr", "-o", "file/out.pvd"], "choose a writable folder"),
        (["decode", "run.minr", "-o", "out.pvd", "--steps", "2,9"], "holds no step 9"),
        (["decode", "run.minr", "-o", "out.pvd", "--scale", "0"], "scale is 0"),
        (["decode", "run.minr", "-o", "out.pvd", "--scale", "1e300"], "more along an axis"),
        (["decode", "run.minr", "-o", "out.pvd", "--scale", "1e5"], "GiB, which this"),
        (["decode", "run.minr", "-o", "out.pvd", "--dims", *["1000000"] * 3], "GiB, which this"),
        (["decode", "run.minr", "-o", "out.pvd", "--dims", "3000000000", "1", "1"], "than .vti"),
        (["decode", "run.minr", "-o", "out.pvd", "--dims", "0", "1", "1"], "dims are"),
        (
            ["decode", "run.minr", "-o", "out.pvd", "--box", "20", "30", *"0909"],
            "box 20 to 30 along x",
        ),
        (["decode", "run.minr", "-o", "out.pvd", "--scale", "2", "--dims", *"123"], "not allowed"),
        (["info", "none.minr"], "does not exist"),
        (["info", "none.safetensors"], "none.safetensors"),
        (["info", "flow"], "flow"),
        (["info", "run.minr", "--json", "file/out.json"], "cannot be written"),
    ]:
        assert message in fails(capsys, *arguments), arguments
    assert not (folder / "out").exists()
    assert not list(folder.glob("out*"))


def test_a_damaged_image_is_one_line_too(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """VTK's own messages do not come between."""
    pytest.importorskip("vtkmodules.vtkIOXML")
    (folder / "bad.vti").write_text("<VTKFile")
    assert main(["encode", "bad.vti", "-o", "a.minr"]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "bad.vti cannot be read" in error


def test_non_finite_values(folder: Path, capsys: Capture) -> None:
    path = folder / "flow" / "speed" / "flow-speed-3.raw"
    values = np.frombuffer(path.read_bytes(), "<f4").copy()
    values[:2] = np.nan
    path.write_bytes(values.tobytes())
    command = ["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE]
    assert "step 2 of flow: array" in fails(capsys, *command)
    assert len(run(capsys, *command, "--ignore-nonfinite")["steps"]) == 6


def test_another_series_is_refused_without_overwrite(folder: Path, capsys: Capture) -> None:
    command = ["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE]
    run(capsys, *command)
    before = (folder / "run.minr").read_bytes()
    path = folder / "flow" / "speed" / "flow-speed-2.raw"
    path.write_bytes(path.read_bytes()[::-1].replace(b"\x7f", b"\0").replace(b"\xff", b"\0"))
    assert "its step 1 was encoded from other values" in fails(capsys, *command)
    assert (folder / "run.minr").read_bytes() == before
    assert len(run(capsys, *command, "--overwrite")["steps"]) == 6


def test_an_empty_archive_has_nothing_to_decode(folder: Path, capsys: Capture) -> None:
    """As a process leaves it that is killed at its first step."""
    Archive.create("run.minr", HEADER, INFO)
    assert "holds no step yet" in fails(capsys, "decode", "run.minr", "-o", "out.pvd")
    assert run(capsys, "info", "run.minr")["steps"] == []


def test_help_and_version(capsys: Capture) -> None:
    for arguments in (["--version"], ["--help"], ["encode", "--help"], ["pretrain", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    text = capsys.readouterr().out
    assert metainr_core.__version__ in text
    assert "--target-psnr" in text
    assert "--max-error" in text
    assert "--outer-steps" in text
