"""Encoding a series: what is stored and reported, and what is refused before the work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import (
    ArchiveError,
    MetaINRError,
    MetaINRWarning,
    PriorError,
    SeriesError,
    SettingsError,
)
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries

Maker = Callable[..., ArraySeries]


@pytest.mark.usefixtures("one_by_one")
def test_every_step_is_stored_with_its_figures(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    series = make_series(times=[0.0, 0.5, 2.0, 7.0], array="speed")
    seen: list[tuple[float, str]] = []
    archive = encode(
        series, tmp_path / "run.minr", config=quick, progress=lambda f, m: seen.append((f, m))
    )
    assert archive.steps == [0, 1, 2, 3]
    assert archive.times == [0.0, 0.5, 2.0, 7.0]
    assert (archive.array, archive.grid) == ("speed", series.grid)
    assert archive.header.siren == quick.siren
    for row in archive.records:
        assert row.epochs == 2
        assert row.seconds > 0
        assert row.psnr_series >= row.psnr > 5
        # The header of a file so small outweighs its weights, but is counted all the same.
        assert 600 < row.bytes < archive.load_step(row.step).bytes
        assert row.ratio == pytest.approx(960 * 4 / row.bytes)
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == 1
    assert any("encode 3/4, step 2: pass 2 of 2, " in m and m.endswith(" left") for _, m in seen)


def test_a_long_series_adds_little_to_each_step(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    """What a step's header repeats must not grow with the number of steps."""
    sizes = []
    for steps in (2, 200):
        series = make_series(steps=steps, dims=(3, 3, 3))
        archive = encode(series, tmp_path / f"{steps}.minr", config=quick, steps=[1])
        sizes.append(archive.record(1).bytes)
    assert sizes[1] < sizes[0] + 100


@pytest.mark.parametrize("steps", [[4], [-1], [0, 99]])
def test_steps_that_are_not_there_are_refused(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, steps: list[int]
) -> None:
    with pytest.raises(SeriesError, match=r"asked for; the arrays has steps 0 to 3"):
        encode(make_series(), tmp_path / "run.minr", config=quick, steps=steps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["run", "file/run.minr", "run.pvd"])
def test_an_unwritable_place_is_known_before_the_work(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, no_training: None, place: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError) as error:
        encode(make_series(), tmp_path / place, config=quick)
    assert "\n" not in str(error.value)


def test_a_file_in_place_of_the_folder(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, no_training: None
) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(ArchiveError, match=r"folder .*run cannot be made: File exists"):
        encode(make_series(), tmp_path / "run.minr", config=quick)


@pytest.mark.parametrize(
    ("series", "changes", "kind", "message"),
    [
        ({"array": "pressure"}, {}, PriorError, "learned from array 'values'.*'pressure'"),
        ({"components": 3}, {}, PriorError, r"\(1 components\); the arrays has 'values' \(3\)"),
        ({}, {"siren": SirenConfig(24, 1, 10.0)}, PriorError, "the prior's network has"),
        ({}, {"init": "pretrained"}, PriorError, "the prior is of kind 'meta'; set init to meta"),
        ({}, {"init": "random"}, SettingsError, "init is random, but a prior is given"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    prior: Prior,
    series: dict[str, Any],
    changes: dict[str, Any],
    kind: type[MetaINRError],
    message: str,
) -> None:
    config = dataclasses.replace(quick, **{"init": "meta", "siren": None, **changes})
    with pytest.raises(kind, match=message) as error:
        encode(make_series(**series), tmp_path / "run.minr", config=config, prior=prior)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("init", ["meta", "pretrained"])
def test_a_missing_prior_is_asked_for(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, init: str
) -> None:
    config = dataclasses.replace(quick, init=init)
    with pytest.raises(PriorError, match=f"init is '{init}', which needs a prior"):
        encode(make_series(), tmp_path / "run.minr", config=config)


def test_an_unfinished_prior_is_told(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    half = dataclasses.replace(prior, history=prior.history[:1])
    rounds = prior.config.outer_steps
    config = dataclasses.replace(quick, init="meta", siren=None)
    with pytest.warns(MetaINRWarning, match=f"the prior has 1 of {rounds} rounds"):
        encode(make_series(), tmp_path / "run.minr", prior=half, config=config)
