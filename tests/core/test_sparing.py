"""What weights may cost: steps raised to a budget, and networks that are not worth their bytes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metainr_core import coding, fitting
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.prior import Prior
from metainr_core.rounding import HIGHEST_CODE, Rounding, choose_codes
from metainr_core.sampling import coordinates
from metainr_core.series import ArraySeries
from metainr_core.siren import Siren, forward, initialize, mean_squared_errors
from metainr_core.sparing import spare, within_budget

Maker = Callable[..., ArraySeries]
WHERE = coordinates(torch.arange(336), (6, 7, 8))[None]
ADDED = 1e-6


def networks(count: int, seed: int, components: int = 1) -> Siren:
    generator = torch.Generator().manual_seed(seed)
    return initialize(SirenConfig(12, 1, 10.0), count, components, generator)


def codes_of(siren: Siren) -> Tensor:
    return choose_codes(siren, torch.full((siren.networks,), ADDED))


def sizes(siren: Siren, rounding: Rounding) -> np.ndarray:
    numbers = rounding.numbers(siren.flat()).numpy()
    return coding.estimate(numbers, [t[0].numel() for t in siren.tensors])


def spared(siren: Siren, rounding: Rounding, values: Tensor, added: float = ADDED) -> Siren:
    def errors_of(other: Siren) -> Tensor:
        return mean_squared_errors(other, WHERE, values)

    return spare(siren, rounding, values.mean(1), torch.full((len(values),), added), errors_of)


# Single networks


@pytest.mark.parametrize("components", [1, 2])
def test_each_network_becomes_what_is_worth_its_bytes(components: int) -> None:
    """Fitted to itself, to a constant, to its reference, to a constant with hardly any noise."""
    siren, reference = networks(4, 0, components), networks(4, 1, components)
    rounding = Rounding.of(reference, codes_of(siren))
    generator = torch.Generator().manual_seed(2)
    values = forward(siren, WHERE)
    level = torch.tensor([0.3, -0.6])[:components]
    values[1] = level
    values[2] = forward(reference, WHERE)[2]
    values[3] = -level + 1e-5 * torch.randn(336, components, generator=generator)
    found = spared(siren, rounding, values)
    rounded = rounding.round(siren.flat())
    assert torch.equal(found.flat()[0], rounded[0])
    assert torch.equal(found.flat()[2], reference.flat()[2])
    for n, wanted in ((1, level), (3, -level)):
        assert float((forward(found, WHERE)[n] - wanted).abs().max()) < 0.01
        # All but the last layer is that of the reference, which costs nothing.
        for own, base in zip(found.tensors[:-2], reference.tensors[:-2], strict=True):
            assert torch.equal(own[n], base[n])
    # Whatever it is, it lies on the grid.
    assert torch.equal(rounding.round(found.flat()), found.flat())
    before, after = sizes(siren, rounding), sizes(found, rounding)
    assert after[0] == before[0]
    assert after[2] < 0.1 * before[2]
    assert after[[1, 3]].max() < 0.3 * before[[1, 3]].min()


def test_a_constant_is_exact_against_zero() -> None:
    """Where nothing but a bias is left, a brick takes a few bytes."""
    siren = networks(2, 0)
    rounding = Rounding.of(siren.map(torch.zeros_like), codes_of(siren))
    values = torch.tensor([0.25, 0.0]).view(2, 1, 1).expand(2, 336, 1)
    found = spared(siren, rounding, values)
    assert all(not t.any() for t in found.tensors[:-1])
    assert float((forward(found, WHERE) - values).abs().max()) < 0.01
    assert sizes(found, rounding).max() < 20


def test_the_price_decides() -> None:
    """The error that rounding may add is what a byte is paid with."""
    siren = networks(1, 0)
    rounding = Rounding.of(siren.map(torch.zeros_like), codes_of(siren))
    values = forward(siren, WHERE)
    variance = float(values.var())
    size, parameters = float(sizes(siren, rounding)[0]), siren.flat().shape[1]
    even = variance / (8 * 2 * math.log(2) * size / parameters)
    for factor, kept in ((0.8, True), (1.25, False)):
        found = spared(siren, rounding, values, factor * even)
        assert torch.equal(found.flat(), rounding.round(siren.flat())) is kept


def test_networks_do_not_decide_for_each_other() -> None:
    siren, reference = networks(5, 0), networks(5, 1)
    rounding = Rounding.of(reference, codes_of(siren))
    values = forward(siren, WHERE) * torch.tensor([1.0, 0.0, 1.0, 0.0, 0.5]).view(5, 1, 1)
    together = spared(siren, rounding, values)
    for n in range(5):
        own = slice(n, n + 1)
        alone = spared(siren.map(lambda t: t[own]), rounding.part(own), values[own])  # noqa: B023
        assert torch.equal(alone.flat(), together.flat()[own])


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_network_that_diverged_stays_so(bad: float) -> None:
    """A constant in its place would hide that the fit failed."""
    siren = networks(2, 0)
    values = forward(siren, WHERE)
    rounding = Rounding.of(siren.map(torch.zeros_like), codes_of(siren))
    weights = siren.flat()
    weights[1, 5] = bad
    found = spared(siren.view(weights), rounding, values).flat()
    assert torch.equal(found[0], rounding.round(siren.flat())[0])
    assert not bool(found[1].isfinite().all())


# Budgets


def estimates(siren: Siren, codes: Tensor, reference: Siren, bricks: int) -> np.ndarray:
    return sizes(siren, Rounding.of(reference, codes)).reshape(-1, bricks).sum(1)


def test_without_a_budget_nothing_is_touched() -> None:
    siren, reference = networks(4, 0), networks(4, 1)
    codes = codes_of(siren)
    before = codes.clone()
    assert torch.equal(within_budget(siren, codes, reference, 2, math.inf), before)
    assert torch.equal(within_budget(siren, codes, reference, 2, 1e9), before)
    within_budget(siren, codes, reference, 2, 100.0)
    assert torch.equal(codes, before)


@pytest.mark.parametrize("bricks", [1, 2, 3, 6])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
def test_every_volume_keeps_its_budget(bricks: int, share: float) -> None:
    siren, reference = networks(6, 0), networks(6, 1)
    # Some volumes cost more than others.
    codes = codes_of(siren) + torch.arange(6, dtype=torch.uint8)[:, None] * 4
    full = estimates(siren, codes, reference, bricks)
    budget = share * float(full.max())
    found = within_budget(siren, codes, reference, bricks, budget)
    assert (found.dtype, found.shape) == (torch.uint8, codes.shape)
    assert estimates(siren, found, reference, bricks).max() <= budget
    raised = (found.int() - codes.int()).view(-1, bricks * codes.shape[1])
    for volume, size in enumerate(full):
        # All steps of a volume by one factor, and by no more than it takes.
        (by,) = raised[volume].unique().tolist()
        assert (by == 0) == (size <= budget)
        if by:
            finer = (codes.int() + by - 1).to(torch.uint8)
            assert estimates(siren, finer, reference, bricks)[volume] > budget


def test_a_budget_of_nothing_ends_at_the_highest_code() -> None:
    siren, reference = networks(2, 0), networks(2, 1)
    codes = codes_of(siren)
    codes[0, 0] = HIGHEST_CODE
    found = within_budget(siren, codes, reference, 1, 0.0)
    assert bool((found == HIGHEST_CODE).all())


# Whole volumes


def rounded_only(siren: Siren, rounding: Rounding, *_: object) -> Siren:
    return siren.view(rounding.round(siren.flat()))


def both(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    series: ArraySeries,
    config: EncodeConfig,
    prior: Prior | None,
) -> tuple[Archive, Archive]:
    """With and without ``spare``."""
    found = encode(series, tmp_path / "spared.minr", config=config, prior=prior)
    monkeypatch.setattr(fitting, "spare", rounded_only)
    return found, encode(series, tmp_path / "plain.minr", config=config, prior=prior)


def bricks_of(quick: EncodeConfig, prior: Prior, init: str) -> tuple[EncodeConfig, Prior | None]:
    """Settings for bricks of 8 voxels, and the prior where there is to be one."""
    siren = dataclasses.replace(prior.siren_config, brick_size=8)
    config = dataclasses.replace(quick, siren=siren, init=init, epochs=6, batch_size=64)
    return config, dataclasses.replace(prior, siren_config=siren) if init == "meta" else None


@pytest.mark.parametrize("init", ["random", "meta", "previous"])
def test_a_field_that_is_mostly_nothing_takes_few_bytes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quick: EncodeConfig,
    prior: Prior,
    init: str,
) -> None:
    z, y, x = np.meshgrid(*[np.arange(24)] * 3, indexing="ij")
    distance = ((x - 4) ** 2 + (y - 4) ** 2 + (z - 4) ** 2) / 9
    arrays = [np.where(distance < 1.5, (1 - distance / 1.5) * (1 + t / 9), 0) for t in range(2)]
    series = ArraySeries([a.astype(np.float32) for a in arrays])
    config, start = bricks_of(quick, prior, init)
    found, plain = both(tmp_path, monkeypatch, series, config, start)
    assert found.layout.bricks == 27
    for step in (0, 1):
        row, other = found.record(step), plain.record(step)
        assert row.bytes < 0.4 * other.bytes
        assert row.psnr > other.psnr - 0.5
        siren = found.load_step(step)
        # A constant, or the reference: all but the last layer is what it is a difference to.
        base = siren.map(torch.zeros_like)
        if start is not None:
            base = start.rounded().siren.repeat(27)
        elif row.reference == "previous":
            base = found.load_step(step - 1)
        pairs = zip(siren.tensors[:-2], base.tensors[:-2], strict=True)
        same = torch.stack([(a == b).flatten(1).all(dim=1) for a, b in pairs])
        constant = same.all(dim=0)
        assert int(constant.sum()) >= 18
        assert not constant[0]


@pytest.mark.parametrize("init", ["random", "meta"])
def test_dense_waves_keep_all_their_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: EncodeConfig, prior: Prior, init: str
) -> None:
    """Something in every brick: nothing is changed by a bit."""
    z, y, x = np.meshgrid(*[np.arange(16) / 3] * 3, indexing="ij")
    field = np.sin(x + 0.3) * np.cos(1.3 * y) + np.sin(0.8 * z + x)
    config, start = bricks_of(quick, prior, init)
    series = ArraySeries([field.astype(np.float32)])
    found, plain = both(tmp_path, monkeypatch, series, config, start)
    assert torch.equal(found.load_step(0).flat(), plain.load_step(0).flat())
    assert found.record(0).psnr == plain.record(0).psnr


def test_dense_noise_keeps_what_fits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: EncodeConfig
) -> None:
    """Networks with more weights than there are voxels."""
    values = np.random.default_rng(0).standard_normal((8, 8, 8)).astype(np.float32)
    config = dataclasses.replace(
        quick, siren=SirenConfig(16, 1, 30.0, brick_size=4), epochs=60, batch_size=32
    )
    found, plain = both(tmp_path, monkeypatch, ArraySeries([values]), config, None)
    assert torch.equal(found.load_step(0).flat(), plain.load_step(0).flat())
    assert found.record(0).psnr > 20
