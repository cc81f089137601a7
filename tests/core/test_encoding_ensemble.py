"""Encoding an ensemble: one archive from one prior, and chains that stay in their member."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metainr_core.archive import Archive
from metainr_core.config import KEY_EPOCHS, EncodeConfig, PretrainConfig
from metainr_core.encoding import encode
from metainr_core.ensemble import EnsembleSeries, Run
from metainr_core.errors import ArchiveError, Cancelled, MetaINRError, SettingsError
from metainr_core.members import Member
from metainr_core.metrics import Errors
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries
from tests.core.archives import strict_json

Maker = Callable[..., ArraySeries]
PHASES = {"Re 1": 0.0, "Re 2": 0.7, "Re 3": 1.4}


@pytest.fixture
def make_ensemble(make_series: Maker) -> Callable[..., EnsembleSeries]:
    """``make_ensemble(3, 5)``: members of so many steps."""

    def make(*counts: int, names: Sequence[str] = tuple(PHASES)) -> EnsembleSeries:
        runs = [
            Run(name, make_series(steps=count, phase=phase), {"Re": phase, "mesh": "fine"})
            for name, count, phase in zip(names, counts, PHASES.values(), strict=False)
        ]
        return EnsembleSeries(runs, "data.csv")

    return make


@pytest.fixture
def chained(quick: EncodeConfig) -> EncodeConfig:
    return dataclasses.replace(quick, init="previous", key_interval=2)


def weights(archive: Archive, steps: Sequence[int]) -> list[torch.Tensor]:
    return [tensor for step in steps for tensor in archive.load_step(step).tensors]


def same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_one_archive_from_one_prior(
    tmp_path: Path, make_ensemble: Any, quick: EncodeConfig, learning: PretrainConfig
) -> None:
    series = make_ensemble(3, 2)
    prior = pretrain(series, learning)
    config = dataclasses.replace(quick, init="meta", epochs=8)
    archive = encode(series, tmp_path / "run.minr", config=config, prior=prior)
    opened = Archive.open(archive.path)
    assert opened.members == series.members
    assert opened.times == [0, 1, 2, 0, 1]
    for row in opened.records:
        errors = Errors.between(series.read(row.step), opened.decode(row.step))
        assert row.max_error == pytest.approx(errors.largest)
    # The members differ, and each step is its own member's.
    second = series.read(3)
    near, far = (np.abs(opened.decode(s) - second).mean() for s in (3, 0))
    assert near < far / 2


def test_a_series_says_nothing_of_members(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    archive = encode(make_series(), tmp_path / "run.minr", config=quick)
    assert "members" not in strict_json(archive.path)["info"]


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("coding", ["coded", "float32"])
def test_chains_are_those_of_each_member_alone(
    tmp_path: Path,
    make_ensemble: Any,
    make_series: Maker,
    chained: EncodeConfig,
    prior: Prior,
    coding: str,
) -> None:
    config = dataclasses.replace(chained, weights=coding)
    series = make_ensemble(3, 4)
    together = encode(series, tmp_path / "run.minr", config=config, prior=prior)
    epochs = [row.epochs for row in together.records]
    key = KEY_EPOCHS * config.epochs
    assert epochs == [key, 2, key, key, 2, key, 2]
    references = [row.reference == "previous" for row in together.records]
    assert references == [coding == "coded" and count == 2 for count in epochs]
    alone = encode(
        make_series(steps=4, phase=0.7), tmp_path / "alone.minr", config=config, prior=prior
    )
    assert same(weights(together, range(3, 7)), weights(alone, range(4)))
    assert [r.settings for r in together.records][3:] == [r.settings for r in alone.records]


def test_a_chain_with_a_hole_names_the_members_key_frame(
    tmp_path: Path, make_ensemble: Any, chained: EncodeConfig
) -> None:
    series = make_ensemble(3, 4)
    with pytest.raises(SettingsError, match=r"step 6 starts from step 5.*key frame 5 on"):
        encode(series, tmp_path / "run.minr", config=chained, steps=[3, 6])


@pytest.mark.usefixtures("one_by_one")
def test_cancelled_work_goes_on(tmp_path: Path, make_ensemble: Any, chained: EncodeConfig) -> None:
    series, path = make_ensemble(3, 3), tmp_path / "run.minr"
    whole = encode(series, tmp_path / "whole.minr", config=chained)

    def stop_in_step_4(fraction: float, message: str) -> None:
        if " step 4:" in message:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        encode(series, path, config=chained, progress=stop_in_step_4)
    # Key frames first: of both members.
    kept = Archive.open(path)
    assert kept.steps == [0, 1, 2, 3, 5]
    assert kept.members == series.members
    times = {s: kept.step_path(s).stat().st_mtime_ns for s in kept.steps}
    resumed = encode(series, path, config=chained)
    assert {s: resumed.step_path(s).stat().st_mtime_ns for s in times} == times
    assert same(weights(resumed, range(6)), weights(whole, range(6)))


def test_a_second_run_trains_nothing(
    tmp_path: Path, make_ensemble: Any, chained: EncodeConfig, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "run.minr"
    first = encode(make_ensemble(3, 2), path, config=chained)
    request.getfixturevalue("no_training")
    assert encode(make_ensemble(3, 2), path, config=chained).records == first.records


def test_more_members_and_a_longer_last_one_go_on(
    tmp_path: Path, make_ensemble: Any, quick: EncodeConfig
) -> None:
    path = tmp_path / "run.minr"
    first = encode(make_ensemble(3), path, config=quick)
    times = [first.step_path(s).stat().st_mtime_ns for s in first.steps]
    encode(make_ensemble(3, 2), path, config=quick)
    longer = make_ensemble(3, 4, 2)
    archive = encode(longer, path, config=quick)
    assert [archive.step_path(s).stat().st_mtime_ns for s in first.steps] == times
    assert archive.members == longer.members
    # Steps 3 and 4 were written when their member had two.
    path.unlink()
    assert Archive.open(path).members == longer.members


# A lost index


def test_a_rebuilt_index_knows_its_members(
    tmp_path: Path, make_ensemble: Any, chained: EncodeConfig
) -> None:
    series, path = make_ensemble(3, 2, 4), tmp_path / "run.minr"
    first = encode(series, path, config=chained)
    path.unlink()
    rebuilt = Archive.open(path)
    assert rebuilt.members == series.members
    assert rebuilt.records == first.records
    assert Archive.open(path).members == series.members


def test_a_rebuilt_index_knows_the_members_that_are_left(
    tmp_path: Path, make_ensemble: Any, quick: EncodeConfig
) -> None:
    series, path = make_ensemble(3, 2, 4), tmp_path / "run.minr"
    first = encode(series, path, config=quick)
    path.unlink()
    for step in (0, 1, 2, 5):
        first.step_path(step).unlink()
    first.step_path(6).write_bytes(first.step_path(6).read_bytes()[:-9])
    rebuilt = Archive.open(path)
    assert rebuilt.steps == [3, 4, 7, 8]
    assert rebuilt.members == series.members[1:]
    assert encode(series, path, config=quick).members == series.members


@pytest.mark.parametrize(
    "members",
    [
        [],
        "none",
        [{"name": "a"}],
        [Member("a", 0, 1).to_json()],
        [Member("a", 0, 3).to_json(), Member("b", 2, 5).to_json()],
        [Member("a", 0, 3).to_json(), Member("a", 3, 5).to_json()],
    ],
)
def test_damaged_members_are_seen_at_once(
    tmp_path: Path, make_ensemble: Any, quick: EncodeConfig, members: Any
) -> None:
    path = tmp_path / "run.minr"
    encode(make_ensemble(3, 2), path, config=quick)
    index = json.loads(path.read_bytes())
    index["info"]["members"] = members
    path.write_text(json.dumps(index))
    with pytest.raises(ArchiveError, match=r"run\.minr is damaged .*delete this file alone"):
        Archive.open(path)


def test_a_step_of_no_ensemble_is_not_adopted(
    tmp_path: Path, make_ensemble: Any, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    """With one prior the headers of all series are equal."""
    config = dataclasses.replace(quick, init="meta")
    path = tmp_path / "run.minr"
    encode(make_ensemble(3, 2), path, config=config, prior=prior, steps=[0, 3])
    other = encode(make_series(), tmp_path / "o.minr", config=config, prior=prior)
    stray = path.with_suffix("") / other.step_path(1).name
    stray.write_bytes(other.step_path(1).read_bytes())
    assert Archive.open(path).steps == [0, 3]


# Another ensemble


@pytest.mark.parametrize("names", [("Re 1", "Re 9"), ("other", "Re 2")])
def test_other_members_are_refused_unless_overwritten(
    tmp_path: Path, make_ensemble: Any, quick: EncodeConfig, names: tuple[str, str]
) -> None:
    path = tmp_path / "run.minr"
    encode(make_ensemble(3, 2), path, config=quick)
    before = path.read_bytes()
    other = make_ensemble(3, 2, names=names)
    with pytest.raises(ArchiveError, match=r"is of member .*, not of member .*--overwrite"):
        encode(other, path, config=quick)
    assert path.read_bytes() == before
    assert encode(other, path, config=quick, overwrite=True).members == other.members


def test_a_series_does_not_become_an_ensemble(
    tmp_path: Path, make_ensemble: Any, make_series: Maker, quick: EncodeConfig
) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(steps=3), path, config=quick)
    expected = r'its step 0 is of no ensemble, not of member "Re 1" \(Re 0, mesh fine\)'
    with pytest.raises(ArchiveError, match=expected):
        encode(make_ensemble(3, 2), path, config=quick)


# Size


def test_members_add_little_to_each_step(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    sizes = []
    for count in (2, 50):
        runs = [Run(f"Re {n}", make_series(steps=1), {"Re": float(n)}) for n in range(count)]
        archive = encode(EnsembleSeries(runs), tmp_path / f"{count}.minr", config=quick, steps=[1])
        sizes.append(archive.record(1).bytes)
    alone = encode(make_series(steps=2), tmp_path / "alone.minr", config=quick, steps=[1])
    assert abs(sizes[1] - sizes[0]) < 20
    assert sizes[1] < alone.record(1).bytes + 120


@pytest.mark.parametrize("init", ["random", "previous"])
def test_a_ratio_is_that_of_the_whole_archive(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, init: str
) -> None:
    runs = [
        Run(f"Re {n}", make_series(steps=3, phase=n / 8, dims=(24, 20, 16)), {"Re": float(n)})
        for n in range(8)
    ]
    config = dataclasses.replace(quick, init=init, key_interval=2, target_ratio=20, epochs=1)
    archive = encode(EnsembleSeries(runs), tmp_path / "run.minr", config=config)
    # As near as other series come on so small a volume; without room for the members 18.7.
    assert archive.ratio > 19.5


def test_bad_data_of_a_member_is_named(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    bad = np.full((8, 10, 12), np.nan, np.float32)
    runs = [Run("a", make_series(steps=2)), Run("b", ArraySeries([bad], name="b.pvd"))]
    with pytest.raises(MetaINRError, match=r'member "b", step 0 of b\.pvd: .* non-finite'):
        encode(EnsembleSeries(runs), tmp_path / "run.minr", config=quick)
    assert not list(tmp_path.iterdir())
