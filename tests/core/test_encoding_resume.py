"""Encoding into an archive that is there: what is kept, fitted again, refused or replaced."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, Cancelled, MetaINRWarning
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries

Maker = Callable[..., ArraySeries]
REPLACING_ALL = r"run\.minr: replacing steps 0, 1, 2, 3, made with other settings"


def snapshot(path: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}


def digests(archive: Archive) -> list[str]:
    """Of the weights alone: files also hold the seconds that the fit took."""
    return [
        "".join(str(t.double().sum().item()) for t in archive.load_step(s).tensors)
        for s in archive.steps
    ]


def test_the_guard_against_training_guards(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, no_training: None
) -> None:
    with pytest.raises(AssertionError, match="nothing was to be trained"):
        encode(make_series(), tmp_path / "run.minr", config=quick)


def test_a_second_run_trains_nothing(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "run.minr"
    first = encode(make_series(), path, config=quick)
    times = {p: p.stat().st_mtime_ns for p in snapshot(path)}
    request.getfixturevalue("no_training")
    again = encode(make_series(), path, config=quick)
    assert {p: p.stat().st_mtime_ns for p in snapshot(path)} == times, "a file was written again"
    assert again.records == first.records


@pytest.mark.usefixtures("one_by_one")
def test_cancelled_work_goes_on_where_it_stopped(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    whole = encode(make_series(), tmp_path / "whole.minr", config=quick)
    path = tmp_path / "run.minr"

    def stop_in_step_2(fraction: float, message: str) -> None:
        if " step 2:" in message and "pass" in message:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        encode(make_series(), path, config=quick, progress=stop_in_step_2)
    assert Archive.open(path).steps == [0, 1]
    times = [Archive.open(path).step_path(s).stat().st_mtime_ns for s in (0, 1)]
    resumed = encode(make_series(), path, config=quick)
    assert [resumed.step_path(s).stat().st_mtime_ns for s in (0, 1)] == times
    assert digests(resumed) == digests(whole)
    assert not list(path.parent.rglob(".*"))


def test_a_full_disk_keeps_the_finished_steps(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.minr"
    replace = os.replace

    def full(source: str, target: Path) -> None:
        if "step_000002" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ArchiveError, match=r"step_000002.* cannot be written: No space left"):
        encode(make_series(), path, config=quick)
    monkeypatch.undo()
    assert Archive.open(path).steps == [0, 1]
    assert not list(tmp_path.rglob(".*"))
    assert encode(make_series(), path, config=quick).steps == [0, 1, 2, 3]


def test_a_lost_index_costs_nothing(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "run.minr"
    first = encode(make_series(), path, config=quick)
    path.unlink()
    request.getfixturevalue("no_training")
    assert encode(make_series(), path, config=quick).records == first.records


def test_parts_in_any_order_give_the_whole(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    whole = encode(make_series(), tmp_path / "whole.minr", config=quick)
    path = tmp_path / "run.minr"
    # numpy's integers, as scripts have them.
    for steps in (np.array([3, 1]), [0], range(2, 3)):
        encode(make_series(), path, config=quick, steps=steps)
    assert Archive.open(path).steps == [0, 1, 2, 3]
    assert digests(Archive.open(path)) == digests(whole)


def test_a_chain_is_resumed_in_the_middle(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    config = dataclasses.replace(quick, init="previous", key_interval=3)
    whole = encode(make_series(steps=6), tmp_path / "w.minr", config=config)
    path = tmp_path / "run.minr"
    encode(make_series(steps=6), path, config=config, steps=[0, 1, 3])
    encode(make_series(steps=6), path, config=config, steps=[2, 4])
    assert digests(encode(make_series(steps=6), path, config=config)) == digests(whole)


def test_a_longer_series_goes_on(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    first = encode(make_series(steps=3), path, config=meta, prior=prior)
    times = [first.step_path(s).stat().st_mtime_ns for s in first.steps]
    longer = encode(make_series(steps=5), path, config=meta, prior=prior)
    assert longer.steps == [0, 1, 2, 3, 4]
    assert [longer.step_path(s).stat().st_mtime_ns for s in first.steps] == times


# Fitted again


@pytest.mark.parametrize(
    "change",
    [{"epochs": 3}, {"seed": 1}, {"learning_rate": 2e-3}],
)
def test_other_settings_fit_again(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, change: dict[str, Any]
) -> None:
    path = tmp_path / "run.minr"
    before = digests(encode(make_series(), path, config=quick))
    other = dataclasses.replace(quick, **change)
    with pytest.warns(MetaINRWarning, match=REPLACING_ALL):
        after = encode(make_series(), path, config=other)
    assert after.steps == [0, 1, 2, 3]
    assert not set(digests(after)) & set(before)
    with pytest.warns(MetaINRWarning, match=REPLACING_ALL):
        assert digests(encode(make_series(), path, config=quick)) == before


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([4, 6], "step 4"),
        ([0, 1, 4], "steps 0, 1, 4"),
        ([0, 1, 2, 3, 4, 6], "steps 0 to 4"),
        ([0, 1, 2, 4, 5], "steps 0, 1 … 5"),
    ],
)
def test_what_is_replaced_is_said_once_before_the_work(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, steps: list[int], names: str
) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(steps=7), path, config=quick, steps=range(6))
    before = snapshot(path)

    def stop_at_once(fraction: float, message: str) -> None:
        if "starting" in message:
            raise Cancelled("enough")

    other = dataclasses.replace(quick, epochs=1)
    with pytest.warns(MetaINRWarning) as warned, pytest.raises(Cancelled):
        encode(make_series(steps=7), path, config=other, steps=steps, progress=stop_at_once)
    assert [str(w.message) for w in warned] == [
        f"{path}: replacing {names}, made with other settings or prior"
    ]
    assert set(snapshot(path)) == set(before)


def test_another_prior_fits_again(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior, learning: PretrainConfig
) -> None:
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    before = digests(encode(make_series(), path, config=meta, prior=prior))
    other = pretrain(make_series(), dataclasses.replace(learning, outer_steps=3))
    with pytest.warns(MetaINRWarning, match=REPLACING_ALL):
        after = encode(make_series(), path, config=meta, prior=other)
    assert not set(digests(after)) & set(before)


def test_a_damaged_step_is_fitted_again(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    path = tmp_path / "run.minr"
    archive = encode(make_series(), path, config=quick)
    before = digests(archive)
    data = bytearray(archive.step_path(2).read_bytes())
    data[-1] ^= 1
    archive.step_path(2).write_bytes(bytes(data))
    again = encode(make_series(), path, config=quick)
    assert digests(again) == before
    assert again.is_intact(2)


def test_an_index_older_than_its_steps_is_not_believed(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    """Killed after step files of other settings, before the index."""
    path = tmp_path / "run.minr"
    first = encode(make_series(), path, config=quick)
    index, before = path.read_bytes(), digests(first)
    with pytest.warns(MetaINRWarning, match=REPLACING_ALL):
        encode(make_series(), path, config=dataclasses.replace(quick, seed=5))
    path.write_bytes(index)
    with pytest.warns(MetaINRWarning, match=REPLACING_ALL):
        again = encode(make_series(), path, config=quick)
    assert digests(again) == before
