"""Exports that go on, and files that stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metainr_core import archive_decoding
from metainr_core import export as exports
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig
from metainr_core.encoding import encode
from metainr_core.ensemble import EnsembleSeries, Run
from metainr_core.errors import Cancelled, MetaINRError, SettingsError
from metainr_core.export import export
from metainr_core.series import ArraySeries, Progress, open_series

pytest.importorskip("vtkmodules.vtkIOXML")


@pytest.fixture
def archive(
    tmp_path: Path, make_series: Callable[..., ArraySeries], quick: EncodeConfig
) -> Archive:
    return encode(make_series(steps=4), tmp_path / "run.minr", config=replace(quick, epochs=1))


def times_of(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_an_interrupted_export_goes_on(
    archive: Archive, tmp_path: Path, stop_after: Callable[[int], Progress]
) -> None:
    output = tmp_path / "out.pvd"
    with pytest.raises(Cancelled):
        # Two calls per step: at its start, and before its values.
        export(archive, output, archive.grid, archive.steps, progress=stop_after(5))
    assert open_series(output).times == (0.0, 1.0)
    before = times_of(tmp_path / "out")
    assert sorted(before) == ["step_000000.vti", "step_000001.vti"]
    export(archive, output, archive.grid, archive.steps)
    after = times_of(tmp_path / "out")
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    again = open_series(output)
    assert again.times == (0.0, 1.0, 2.0, 3.0)
    assert (again.read(3) == archive.decode(3)).all()


def test_members_are_exported_one_at_a_time(
    tmp_path: Path, make_series: Callable[..., ArraySeries], quick: EncodeConfig
) -> None:
    runs = [Run("a", make_series(steps=2)), Run("b", make_series(steps=2, phase=1.0))]
    config = replace(quick, epochs=1)
    archive = encode(EnsembleSeries(runs), tmp_path / "e.minr", config=config)
    output = tmp_path / "out.pvd"
    with pytest.raises(SettingsError, match=r"steps of several members of .*: a, b; export one"):
        export(archive, output, archive.grid, archive.steps)
    assert not output.exists()
    export(archive, output, archive.grid, [2, 3])
    again = open_series(output)
    assert again.times == (0.0, 1.0)
    assert (again.read(1) == archive.decode(3)).all()


def test_a_killed_export_goes_on(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written after the last image."""
    output = tmp_path / "out.pvd"
    export(archive, output, archive.grid, archive.steps)
    mark = exports.read_mark(output)
    exports.write_pvd(output, [], [], mark)
    before = times_of(tmp_path / "out")
    export(archive, output, archive.grid, archive.steps)
    assert times_of(tmp_path / "out") == before
    assert len(open_series(output)) == 4


def test_other_values_are_replaced_only_when_asked(archive: Archive, tmp_path: Path) -> None:
    output = tmp_path / "out.pvd"
    export(archive, output, archive.grid, archive.steps)
    other = archive.grid.scaled(0.5)
    with pytest.raises(SettingsError, match=r"out\.pvd exists and holds other .* --overwrite"):
        export(archive, output, other, archive.steps)
    assert open_series(output).grid == archive.grid
    export(archive, output, other, archive.steps, overwrite=True)
    assert open_series(output).grid.dims == other.dims
    before = times_of(tmp_path / "out")
    export(archive, output, other, archive.steps, overwrite=True)
    assert not before.items() & times_of(tmp_path / "out").items()


def test_files_of_others_stay(
    archive: Archive, tmp_path: Path, quick: EncodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.pvd"
    export(archive, source, archive.grid, archive.steps)
    monkeypatch.chdir(tmp_path)
    second = encode(open_series("source.pvd"), "second.minr", config=replace(quick, epochs=1))
    before = {p: p.read_bytes() for p in [source, *(tmp_path / "source").iterdir()]}
    with pytest.raises(SettingsError, match=r"source\.pvd is the series in second\.minr"):
        export(second, source, second.grid, second.steps, overwrite=True)
    # The same without a mark, as any program writes it, and under another path.
    files, times = exports_of(source)
    exports.write_pvd(source, files, times)
    before[source] = source.read_bytes()
    monkeypatch.chdir("/")
    second = Archive.open(tmp_path / "second.minr")
    with pytest.raises(SettingsError, match="not marked as written by metainr decode; choose"):
        export(second, source, second.grid, second.steps, overwrite=True)
    source.rename(tmp_path / "elsewhere.pvd")
    with pytest.raises(SettingsError, match=r"step_000000\.vti exists and is not marked"):
        export(second, source, second.grid, second.steps, overwrite=True)
    (tmp_path / "elsewhere.pvd").rename(source)
    assert {p: p.read_bytes() for p in [source, *(tmp_path / "source").iterdir()]} == before


def exports_of(path: Path) -> tuple[list[str], list[float]]:
    series = open_series(path)
    return [f"{path.stem}/step_{n:06d}.vti" for n in range(len(series))], list(series.times)


@pytest.mark.parametrize("known", [True, False])
def test_values_that_do_not_fit_leave_nothing(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    if known:
        monkeypatch.setattr(archive_decoding, "free_memory", lambda: 4 * archive.grid.voxels)
    else:
        monkeypatch.setattr(archive_decoding, "decode_grid", full)
    before = set(tmp_path.iterdir())
    with pytest.raises(MetaINRError, match=r"need .* GiB, which this machine does not have"):
        export(archive, tmp_path / "new" / "out.pvd", archive.grid, archive.steps)
    assert set(tmp_path.iterdir()) == before
