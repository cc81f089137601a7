"""Which archive an encode writes into, and what is there when that fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, MetaINRWarning, SettingsError
from metainr_core.grid import Grid
from metainr_core.metrics import Errors
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries

Maker = Callable[..., ArraySeries]


def snapshot(path: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}


def digests(archive: Archive) -> list[str]:
    """Of the weights alone: files also hold the seconds that the fit took."""
    return [
        "".join(str(t.double().sum().item()) for t in archive.load_step(s).tensors)
        for s in archive.steps
    ]


@pytest.fixture
def hopeless(quick: EncodeConfig) -> EncodeConfig:
    """Settings with which the first step fails."""
    return dataclasses.replace(quick, learning_rate=1e25, optimizer="adam")


def test_a_new_archive_is_not_there_before_its_first_step(
    tmp_path: Path, make_series: Maker, hopeless: EncodeConfig, prior: Prior
) -> None:
    for config, start in ((hopeless, None), (dataclasses.replace(hopeless, init="meta"), prior)):
        with pytest.raises(SettingsError, match="diverged"):
            encode(make_series(), tmp_path / "new" / "run.minr", config=config, prior=start)
        assert not list((tmp_path / "new").iterdir())


def test_an_archive_stays_until_there_is_a_step_instead(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    hopeless: EncodeConfig,
    prior: Prior,
    learning: PretrainConfig,
) -> None:
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    encode(make_series(), path, config=meta, prior=prior)
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(SettingsError, match="diverged"):
        encode(make_series(phase=0.3), path, config=hopeless, overwrite=True)
    assert snapshot(path).items() >= before.items()
    other = pretrain(make_series(), dataclasses.replace(learning, outer_steps=3))
    worse = dataclasses.replace(hopeless, init="meta")
    with (
        pytest.warns(MetaINRWarning, match="replacing"),
        pytest.raises(SettingsError, match="diverged"),
    ):
        encode(make_series(), path, config=worse, prior=other)
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    assert Archive.open(path).damaged() == []


def test_a_lost_prior_comes_back(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    meta = dataclasses.replace(quick, init="meta", weights="coded")
    archive = encode(make_series(), tmp_path / "run.minr", config=meta, prior=prior)
    before = archive.prior_path.read_bytes()
    archive.prior_path.unlink()
    encode(make_series(), archive.path, config=meta, prior=prior)
    assert archive.prior_path.read_bytes() == before


def test_another_network_is_refused_unless_overwritten(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    path = tmp_path / "run.minr"
    before = digests(encode(make_series(), path, config=quick))
    other = dataclasses.replace(quick, siren=SirenConfig(8, 1, 10.0))
    with pytest.raises(ArchiveError, match=r"holds networks of width .*--overwrite"):
        encode(make_series(), path, config=other)
    assert digests(Archive.open(path)) == before
    after = encode(make_series(), path, config=other, overwrite=True)
    assert after.header.siren.width == 8
    assert not set(digests(after)) & set(before)


@pytest.mark.parametrize(
    "other",
    [
        {"phase": 0.3},
        {"times": [0.0, 1.0, 2.0, 4.0]},
        {"steps": 3},
        {"array": "pressure"},
        {"components": 2},
        {"grid": Grid((12, 10, 8), spacing=(2.0, 1.0, 1.0))},
        {"dims": (12, 10, 9)},
    ],
)
def test_another_series_is_refused_and_nothing_is_lost(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, other: dict[str, Any]
) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(), path, config=quick)
    before = snapshot(path)
    with pytest.raises(ArchiveError, match=r"holds another series.*--overwrite") as error:
        encode(make_series(**other), path, config=quick)
    assert "\n" not in str(error.value)
    assert snapshot(path) == before
    replaced = encode(make_series(**other), path, config=quick, overwrite=True)
    assert len(replaced.steps) == len(make_series(**other))


def test_overwriting_leaves_no_step_of_the_old_series(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    """With one prior the headers of two series are equal, and so their steps look alike."""
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    encode(make_series(), path, config=meta, prior=prior)
    other = make_series(phase=0.05)
    encode(other, path, config=meta, prior=prior, overwrite=True, steps=[0])
    assert Archive.open(path).steps == [0]
    encode(other, path, config=meta, prior=prior)
    for row in Archive.open(path).records:
        errors = Errors.between(other.read(row.step), Archive.open(path).decode(row.step))
        assert row.max_error == pytest.approx(errors.largest)


@pytest.mark.parametrize("content", [b"", b"{}", b"precious notes"])
def test_a_file_that_is_no_archive_is_not_replaced(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, content: bytes
) -> None:
    path = tmp_path / "run.minr"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        encode(make_series(), path, config=quick)
    assert path.read_bytes() == content
