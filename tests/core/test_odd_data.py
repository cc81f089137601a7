"""Odd series through the Python API and the shell: a right result, or one clear line."""

from __future__ import annotations

import ctypes
import json
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.archive import Archive
from metainr_core.cli import main
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import MetaINRError, MetaINRWarning
from metainr_core.grid import Grid
from metainr_core.pretraining import pretrain
from metainr_core.series import ArraySeries, open_series
from tests.core.command_line import ENCODE, PRETRAIN, fails, run
from tests.core.command_line import NETWORK as SMALL
from tests.odd_data import SIZE, Case, cases, psnr_of, settings

CASES = cases()
NETWORK = SirenConfig(width=16, hidden_layers=1, omega_0=5.0)
Capture = pytest.CaptureFixture[str]


def single(volume: np.ndarray) -> np.ndarray:
    """What is learned: float32 with components, holes filled with the mean."""
    values = volume.astype(np.float32)
    values = np.where(
        np.isfinite(values), values, values.mean(dtype="f8", where=np.isfinite(values))
    )
    return values[..., None] if values.ndim == 3 else values


def through_the_core(case: Case, folder: Path) -> None:
    series = ArraySeries(
        case.volumes, grid=case.grid, times=case.times, array=case.array,
        ignore_nonfinite=case.ignore,
    )  # fmt: skip
    config = PretrainConfig(siren=NETWORK, **settings())
    prior = pretrain(series, config, folder / "p.safetensors")
    encode(
        series, folder / "run.minr", prior=prior, config=EncodeConfig(epochs=30, learning_rate=3e-3)
    )


def check_figures(case: Case, archive: Archive) -> None:
    assert len(archive.steps) == len(case.volumes)
    assert archive.array == case.array
    assert archive.times == list(case.times)
    np.testing.assert_allclose(archive.grid.spacing, case.grid.spacing, rtol=1e-12)
    assert archive.grid.extent == case.grid.extent
    for step, volume in enumerate(case.volumes):
        decoded = archive.decode(step)
        assert np.isfinite(decoded).all()
        assert archive.record(step).psnr == pytest.approx(psnr_of(single(volume), decoded), abs=0.1)


@pytest.mark.parametrize("name", CASES)
def test_in_the_core(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if case.refused:
            with pytest.raises(MetaINRError, match=case.refused) as error:
                through_the_core(case, tmp_path)
            assert "\n" not in str(error.value)
            assert not list(tmp_path.glob("run*")), "half an archive"
        else:
            through_the_core(case, tmp_path)
            check_figures(case, Archive.open(tmp_path / "run.minr"))
    assert [w.category for w in told] == [MetaINRWarning] * bool(case.warned)
    assert all(re.search(case.warned, str(w.message)) for w in told)


def write(case: Case, folder: Path) -> Path:
    """A ``.pvd``, in the order of the steps."""
    from metainr_core.vti import make_image, write_image, write_pvd

    folder.mkdir(parents=True)
    names = [f"step {n} %d #1.vti" for n in range(len(case.volumes))]
    for file, volume in zip(names, case.volumes, strict=True):
        values = volume if volume.ndim == 4 else volume[..., None]
        write_image(make_image(values, case.grid, case.array), folder / file)
    write_pvd(folder / "a series.pvd", names, case.times)
    return folder / "a series.pvd"


def in_files() -> list[str]:
    # A .pvd is read by increasing time, wherever its entries stand.
    return [name for name, case in CASES.items() if case.files and name != "unsorted times"]


def commands(case: Case, series: Path, folder: Path) -> list[list[str]]:
    prior, archive = str(folder / "p.safetensors"), str(folder / "run.minr")
    quick = [f"--{k.replace('_', '-')}={v}" for k, v in settings().items()]
    ignore = ["--ignore-nonfinite"] if case.ignore else []
    decode = ["decode", archive, "-o", str(folder / "out.pvd")]
    return [
        [
            "pretrain",
            str(series),
            "-o",
            prior,
            "--width=16",
            "--hidden-layers=1",
            "--omega-0=5",
            *quick,
            *ignore,
        ],
        [
            "encode",
            str(series),
            "-o",
            archive,
            "--prior",
            prior,
            "--epochs=30",
            "--learning-rate=3e-3",
            *ignore,
        ],
        *([decode] if case.grid != Grid(SIZE) or case.array != "speed" else []),
        ["compare", str(series), archive, "--isovalue=0", *ignore],
        ["info", archive],
    ]


@pytest.mark.filterwarnings("always::metainr_core.errors.MetaINRWarning")
@pytest.mark.parametrize("name", in_files())
def test_in_the_shell(name: str, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("vtkmodules")
    pytest.importorskip("scipy")
    case = CASES[name]
    folder = tmp_path / 'ζ folder\'s "name" [1] 50%'
    series = write(case, folder / "in")
    reports: dict[str, Any] = {}
    for arguments in commands(case, series, folder):
        status = main([*arguments, "--json"])
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert status in (0, 2)
        if status:
            assert captured.out == ""
            assert len(lines) == 1
            assert case.refused
            assert re.search(rf"^metainr: error: .*{case.refused}", lines[0])
            assert arguments[0] in case.by
            return
        told = bool(case.warned) and arguments[0] in (*case.by, *("compare",) * (len(case.by) > 1))
        assert len(lines) == told, lines
        assert all(re.search(case.warned, line) for line in lines)
        reports[arguments[0]] = json.loads(captured.out)
    assert not case.refused
    archive = Archive.open(folder / "run.minr")
    check_figures(case, archive)
    if "decode" in reports:
        series_again = open_series(folder / "out.pvd")
        assert (series_again.array, series_again.grid) == (case.array, archive.grid)
        np.testing.assert_array_equal(series_again.read(0), archive.decode(0))
    for step, row in enumerate(reports["compare"]["steps"]):
        recorded = reports["info"]["steps"][step]
        assert row["psnr"] == pytest.approx(recorded["psnr"], abs=1e-6)
        assert recorded["max_error"] == pytest.approx(row["max_error"], rel=1e-5)


def test_unsorted_entries_of_a_pvd_are_sorted(tmp_path: Path) -> None:
    pytest.importorskip("vtkmodules")
    case = CASES["unsorted times"]
    series = open_series(write(case, tmp_path / "in"))
    assert series.times == (0, 1, 2)
    for step, volume in enumerate([case.volumes[1], case.volumes[2], case.volumes[0]]):
        np.testing.assert_array_equal(series.read(step)[..., 0], volume)


def test_a_file_whose_name_has_wildcards_is_that_file(tmp_path: Path) -> None:
    pytest.importorskip("vtkmodules")
    path = write(CASES["one step"], tmp_path / "[1]*?").parent / "step 0 %d #1.vti"
    assert len(open_series(str(path))) == 1


@pytest.mark.parametrize("size", [300, 251])
def test_names_that_are_too_long_are_refused(folder: Path, capsys: Capture, size: int) -> None:
    """250 letters are a name, but leave no room for that of a temporary file."""
    name = "x" * (size - 5)
    for arguments in (
        ["encode", "flow", "-o", f"{name}.minr"],
        ["info", f"{name}.minr"],
        ["decode", f"{name}.minr", "-o", "out.pvd"],
        ["pretrain", "flow", "-o", f"{name}.safetensors"],
    ):
        assert main(arguments) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert re.search("name is too long; choose a shorter one|cannot be read: File name", line)
    assert sorted(p.name for p in folder.iterdir()) == ["flow"]


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write everywhere; not without the capabilities DAC_OVERRIDE and _READ_SEARCH."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    try:
        sets[0] = effective & ~0b110
        assert libc.capset(header, sets) == 0
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities")
def test_folders_for_reading_only(folder: Path, capsys: Capture) -> None:
    """What is there is read; what is to be written is refused, before the work, in one line."""
    run(capsys, "pretrain", "flow", "-o", "p.safetensors", *PRETRAIN, *SMALL)
    run(capsys, "encode", "flow", "-o", "run.minr", "--prior", "p.safetensors", *ENCODE)
    before = sorted(folder.rglob("*"))
    folders = [folder, *(p for p in before if p.is_dir())]
    with without_privileges():
        try:
            for path in folders:
                path.chmod(0o555)
            for reading in (
                ["info", "run.minr"],
                ["compare", "flow", "run.minr", "--isovalue", "0"],
                ["encode", "flow", "-o", "run.minr", "--prior", "p.safetensors", *ENCODE],
                ["pretrain", "flow", "-o", "p.safetensors", *PRETRAIN, *SMALL],
            ):
                run(capsys, *reading)
            for writing in (
                ["pretrain", "flow", "-o", "q.safetensors"],
                ["encode", "flow", "-o", "new.minr"],
                ["decode", "run.minr", "-o", "out.pvd"],
                ["info", "run.minr", "--json=info.json"],
            ):
                text = fails(capsys, *writing)
                assert "Permission denied; choose a writable folder" in text
        finally:
            for path in folders:
                path.chmod(0o755)
    assert sorted(folder.rglob("*")) == before
