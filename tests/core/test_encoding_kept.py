"""Steps that are not encoded again stay readable: what they are differences to stays too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, MetaINRWarning, SettingsError
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries

Maker = Callable[..., ArraySeries]


@pytest.fixture
def chained(quick: EncodeConfig) -> EncodeConfig:
    return dataclasses.replace(quick, init="previous", key_interval=4)


@pytest.fixture
def meta(quick: EncodeConfig) -> EncodeConfig:
    return dataclasses.replace(quick, init="meta")


@pytest.fixture
def chain(tmp_path: Path, make_series: Maker, chained: EncodeConfig) -> Archive:
    """Steps 0 and 4 are key frames."""
    return encode(make_series(steps=8), tmp_path / "run.minr", config=chained)


@pytest.fixture
def from_prior(tmp_path: Path, make_series: Maker, meta: EncodeConfig, prior: Prior) -> Archive:
    return encode(make_series(), tmp_path / "run.minr", config=meta, prior=prior)


@pytest.fixture
def other_prior(prior: Prior) -> Prior:
    return dataclasses.replace(prior, siren=prior.siren.map(lambda t: 1.1 * t))


def longer(config: EncodeConfig) -> EncodeConfig:
    return dataclasses.replace(config, epochs=config.epochs + 1)


def files(archive: Archive) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in archive.path.parent.rglob("*") if p.is_file()}


def values(archive: Archive, steps: Iterable[int] | None = None) -> dict[int, np.ndarray]:
    """As somebody else reads it."""
    opened = Archive.open(archive.path)
    return {s: opened.decode(s) for s in (opened.steps if steps is None else steps)}


def same(first: dict[int, np.ndarray], second: dict[int, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[s], second[s]) for s in first)


# Chains


@pytest.mark.parametrize(
    ("steps", "lost", "base"),
    [
        ([0], "steps 1, 2, 3", 0),
        ([1], "steps 2, 3", 1),
        ([2], "step 3", 2),
        ([0, 1], "steps 2, 3", 1),
        ([4, 5, 6], "step 7", 6),
        ([0, 1, 2, 4, 5], "steps 3, 6, 7", 2),
        ([3, 4], "steps 5, 6, 7", 4),
    ],
)
def test_a_part_of_a_chain_is_not_replaced_under_the_rest(
    chain: Archive,
    make_series: Maker,
    chained: EncodeConfig,
    request: pytest.FixtureRequest,
    steps: list[int],
    lost: str,
    base: int,
) -> None:
    before, decoded = files(chain), values(chain)
    request.getfixturevalue("no_training")
    message = (
        rf"run\.minr holds {lost} as differences to step {base}, which would be replaced;"
        " encode them too, or choose another file"
    )
    with pytest.raises(ArchiveError, match=message) as error:
        encode(make_series(steps=8), chain.path, config=longer(chained), steps=steps)
    assert "\n" not in str(error.value)
    assert files(chain) == before
    assert same(values(chain), decoded)


def test_many_lost_steps_are_named_shortly(
    tmp_path: Path, make_series: Maker, chained: EncodeConfig
) -> None:
    config = dataclasses.replace(chained, key_interval=16)
    archive = encode(make_series(steps=10), tmp_path / "run.minr", config=config)
    with pytest.raises(ArchiveError, match="holds steps 3 to 9 as differences to step 2"):
        encode(make_series(steps=10), archive.path, config=longer(config), steps=[2])


def test_the_end_of_a_chain_cannot_go_on_from_other_settings(
    chain: Archive, make_series: Maker, chained: EncodeConfig
) -> None:
    decoded = values(chain)
    with (
        pytest.warns(MetaINRWarning, match="replacing steps 2, 3"),
        pytest.raises(SettingsError, match=r"step 2 starts from step 1.*key frame 0 on"),
    ):
        encode(make_series(steps=8), chain.path, config=longer(chained), steps=range(2, 4))
    assert same(values(chain), decoded)


@pytest.mark.parametrize("first", [0, 4])
def test_a_whole_chain_is_replaced(
    tmp_path: Path, chain: Archive, make_series: Maker, chained: EncodeConfig, first: int
) -> None:
    steps = range(first, first + 4)
    kept = values(chain, set(range(8)) - set(steps))
    with pytest.warns(MetaINRWarning, match="replacing steps"):
        encode(make_series(steps=8), chain.path, config=longer(chained), steps=steps)
    fresh = encode(make_series(steps=8), tmp_path / "fresh.minr", config=longer(chained))
    assert same(values(chain), values(fresh, steps) | kept)


@pytest.mark.parametrize("lost", [0, 2, 3])
@pytest.mark.parametrize("gone", [False, True])
def test_a_lost_step_is_mended_alone(
    chain: Archive, make_series: Maker, chained: EncodeConfig, lost: int, gone: bool
) -> None:
    """What builds on it cannot be read, so that nothing is lost; afterwards it can again."""
    decoded = values(chain)
    if gone:
        chain.step_path(lost).unlink()
    else:
        chain.step_path(lost).write_bytes(b"damaged")
    encode(make_series(steps=8), chain.path, config=chained, steps=[lost])
    assert same(values(chain), decoded)


@pytest.mark.parametrize("weights", ["float16", "float32"])
def test_numbers_in_full_are_replaced_one_by_one(
    tmp_path: Path, make_series: Maker, chained: EncodeConfig, weights: str
) -> None:
    config = dataclasses.replace(chained, weights=weights)
    archive = encode(make_series(steps=8), tmp_path / "run.minr", config=config)
    kept = values(archive, set(range(8)) - {4})
    with pytest.warns(MetaINRWarning, match="replacing step 4"):
        encode(make_series(steps=8), archive.path, config=longer(config), steps=[4])
    found = values(archive)
    assert not np.array_equal(found.pop(4), chain_value(archive, config, make_series))
    assert same(found, kept)


def chain_value(archive: Archive, config: EncodeConfig, make_series: Maker) -> np.ndarray:
    """Step 4 of the shorter fit."""
    path = archive.path.with_name("short.minr")
    return encode(make_series(steps=8), path, config=config, steps=[4]).decode(4)


# Priors


def test_a_prior_is_not_replaced_under_steps(
    from_prior: Archive,
    make_series: Maker,
    meta: EncodeConfig,
    other_prior: Prior,
    request: pytest.FixtureRequest,
) -> None:
    before, decoded = files(from_prior), values(from_prior)
    request.getfixturevalue("no_training")
    with pytest.raises(
        ArchiveError, match="holds steps 0, 2, 3 as differences to the prior, which would be"
    ) as error:
        encode(make_series(), from_prior.path, config=meta, prior=other_prior, steps=[1])
    assert "\n" not in str(error.value)
    assert files(from_prior) == before
    assert same(values(from_prior), decoded)


@pytest.mark.parametrize("weights", ["float16", "float32"])
def test_nor_by_steps_that_do_without_it(
    from_prior: Archive, make_series: Maker, meta: EncodeConfig, prior: Prior, weights: str
) -> None:
    """They would keep it as it is, and not rounded."""
    before = files(from_prior)
    config = dataclasses.replace(meta, weights=weights)
    with pytest.raises(ArchiveError, match="holds steps 0, 2, 3 as differences to the prior"):
        encode(make_series(), from_prior.path, config=config, prior=prior, steps=[1])
    assert files(from_prior) == before


def test_a_prior_is_replaced_with_all_steps(
    tmp_path: Path, from_prior: Archive, make_series: Maker, meta: EncodeConfig, other_prior: Prior
) -> None:
    with pytest.warns(MetaINRWarning, match=r"replacing steps 0, 1, 2, 3, made with other"):
        encode(make_series(), from_prior.path, config=meta, prior=other_prior)
    assert Prior.load(from_prior.prior_path).digest == other_prior.rounded().digest
    fresh = encode(make_series(), tmp_path / "fresh.minr", config=meta, prior=other_prior)
    assert same(values(from_prior), values(fresh))


def test_the_same_prior_serves_single_steps(
    from_prior: Archive, make_series: Maker, meta: EncodeConfig, prior: Prior
) -> None:
    kept = values(from_prior, [0, 2, 3])
    with pytest.warns(MetaINRWarning, match="replacing step 1,"):
        encode(make_series(), from_prior.path, config=longer(meta), prior=prior, steps=[1])
    assert same(values(from_prior, [0, 2, 3]), kept)


@pytest.mark.parametrize("weights", ["float16", "float32"])
def test_steps_in_full_outlive_their_prior(
    tmp_path: Path,
    make_series: Maker,
    meta: EncodeConfig,
    prior: Prior,
    other_prior: Prior,
    weights: str,
) -> None:
    config = dataclasses.replace(meta, weights=weights)
    archive = encode(make_series(), tmp_path / "run.minr", config=config, prior=prior)
    kept = values(archive, [0, 2, 3])
    with pytest.warns(MetaINRWarning, match="replacing step 1,"):
        encode(make_series(), archive.path, config=config, prior=other_prior, steps=[1])
    assert Prior.load(archive.prior_path).digest == other_prior.digest
    assert same(values(archive, [0, 2, 3]), kept)
    # Coded steps may join them.
    with pytest.warns(MetaINRWarning, match="replacing step 2,"):
        encode(make_series(), archive.path, config=meta, prior=prior, steps=[2])
    found = Archive.open(archive.path)
    assert [r.reference for r in found.records] == ["none", "none", "prior", "none"]
    assert same(values(archive, [0, 3]), {s: kept[s] for s in (0, 3)})
    assert found.record(2).psnr > 15


def test_with_modulation_a_chain_hangs_on_the_prior(
    tmp_path: Path, make_series: Maker, chained: EncodeConfig, prior: Prior, other_prior: Prior
) -> None:
    """Its key frames do, and all steps on them."""
    config = dataclasses.replace(chained, adapt="modulation", epochs=1)
    archive = encode(make_series(steps=8), tmp_path / "run.minr", config=config, prior=prior)
    before = files(archive)
    with pytest.raises(ArchiveError, match="holds steps 4, 5, 6, 7 as differences to the prior"):
        encode(make_series(steps=8), archive.path, config=config, prior=other_prior, steps=range(4))
    assert files(archive) == before


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_lost_prior_is_restored_without_training(
    from_prior: Archive,
    make_series: Maker,
    meta: EncodeConfig,
    prior: Prior,
    request: pytest.FixtureRequest,
    damage: str,
) -> None:
    before, decoded = files(from_prior), values(from_prior)
    if damage == "gone":
        from_prior.prior_path.unlink()
    else:
        from_prior.prior_path.write_bytes(b"damaged")
    request.getfixturevalue("no_training")
    archive = encode(make_series(), from_prior.path, config=meta, prior=prior)
    assert files(archive) == before
    assert same(values(archive), decoded)


def test_a_lost_prior_is_restored_for_single_steps(
    from_prior: Archive, make_series: Maker, meta: EncodeConfig, prior: Prior
) -> None:
    """The others come back with it, and are not fitted again."""
    decoded = values(from_prior)
    from_prior.prior_path.unlink()
    from_prior.step_path(1).unlink()
    encode(make_series(), from_prior.path, config=meta, prior=prior, steps=[1])
    assert same(values(from_prior), decoded)


def test_steps_that_cannot_be_read_are_no_reason_to_refuse(
    from_prior: Archive, make_series: Maker, meta: EncodeConfig, other_prior: Prior
) -> None:
    for step in (0, 2, 3):
        from_prior.step_path(step).write_bytes(b"damaged")
    with pytest.warns(MetaINRWarning, match="replacing step 1,"):
        encode(make_series(), from_prior.path, config=meta, prior=other_prior, steps=[1])
    assert values(from_prior, [1])[1].shape == (8, 10, 12, 1)


def test_an_overwritten_archive_keeps_no_prior(
    from_prior: Archive, make_series: Maker, quick: EncodeConfig
) -> None:
    archive = encode(make_series(phase=1.0), from_prior.path, config=quick, overwrite=True)
    assert not archive.prior_path.exists()


def test_networks_are_kept_to_the_bit(
    chain: Archive, make_series: Maker, chained: EncodeConfig
) -> None:
    """Of the steps that are done, whatever was asked for besides."""
    before = [Archive.open(chain.path).load_step(s).flat() for s in range(4)]
    with pytest.warns(MetaINRWarning, match="replacing steps 4, 5, 6, 7"):
        encode(make_series(steps=8), chain.path, config=longer(chained), steps=range(4, 8))
    after = [Archive.open(chain.path).load_step(s).flat() for s in range(4)]
    assert all(map(torch.equal, before, after))
