"""Fits whose weights are rounded: on the grid, in the budget, and nearly as good."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metainr_core import coding, fitting, fused
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.fitting import Fitting, RoundingPlan
from metainr_core.rounding import HIGHEST_CODE, Rounding
from metainr_core.sampling import coordinates
from metainr_core.series import ArraySeries, no_progress
from metainr_core.siren import Siren, initialize, mean_squared_errors
from metainr_core.training import Trainer

Maker = Callable[..., ArraySeries]
SHAPE = (6, 7, 8)
WHERE = coordinates(torch.arange(336), SHAPE)[None]


def start(networks: int = 4) -> Siren:
    return initialize(SirenConfig(12, 1, 10.0), networks, 1, torch.Generator().manual_seed(0))


def targets(networks: int = 4) -> Tensor:
    """Waves, of another direction for every network."""
    directions = torch.randn(networks, 3, 1, generator=torch.Generator().manual_seed(1))
    return torch.sin(2 * WHERE @ directions) * 0.8


def make(bricks: int = 2, wanted: float = 0.0, **changes: Any) -> Fitting:
    config = EncodeConfig(init="random", epochs=12, batch_size=56, learning_rate=5e-3)
    return Fitting(dataclasses.replace(config, **changes), SHAPE, bricks, torch.float32, wanted)


def plan(siren: Siren, share: float = 0.023, **more: Any) -> RoundingPlan:
    return RoundingPlan(siren.map(lambda t: 0.5 * t), share, **more)


def errors(siren: Siren) -> Tensor:
    return mean_squared_errors(siren, WHERE, targets())


def coded_bytes(siren: Siren, codes: Tensor, reference: Siren) -> int:
    numbers = Rounding.of(reference, codes).numbers(siren.flat()).numpy()
    return len(coding.compress(numbers, codes.numpy(), [t[0].numel() for t in siren.tensors]))


@pytest.fixture(params=["fused", "torch"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(fused, "serves", lambda *_: False)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("wanted", [0.0, 0.01])
def test_fitted_weights_lie_on_their_grid(optimizer: str, known: bool, wanted: float) -> None:
    expected = torch.tensor([1e-3, 1e-3]) if known else None
    own = plan(start(), expected=expected)
    siren, passes, codes = make(optimizer=optimizer, wanted=wanted).fit(
        start(), targets(), no_progress, own
    )
    assert codes is not None
    assert (codes.dtype, codes.shape) == (torch.uint8, (4, len(siren.tensors)))
    grid = Rounding.of(own.reference, codes)
    numbers = grid.numbers(siren.flat())
    assert torch.equal(grid.place(numbers), siren.flat())
    assert numbers.any()
    assert max(passes) <= 12


def test_without_a_plan_there_are_no_steps() -> None:
    assert make().fit(start(), targets(), no_progress).codes is None


@pytest.mark.usefixtures("backend")
def test_rounding_costs_what_it_may() -> None:
    plain = errors(make().fit(start(), targets(), no_progress).siren)
    losses, sizes = [], []
    for decibels in (0.1, 0.5, 3.0):
        own = plan(start(), 10 ** (decibels / 10) - 1)
        siren, _, codes = make(coding_loss=decibels).fit(start(), targets(), no_progress, own)
        assert codes is not None
        losses.append(10 * math.log10(float(errors(siren).mean() / plain.mean())))
        sizes.append(coded_bytes(siren, codes, own.reference))
    # Meant for long fits: this one stops to mind the rounding when it still gains 1 dB a pass.
    assert losses[0] < 0.6
    assert losses[1] < 1.5
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.8 * sizes[0] < 0.8 * start().bytes


@pytest.mark.parametrize("known", [False, True])
def test_the_last_quarter_minds_the_rounding_or_all(
    monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    minded: list[bool] = []
    run = Trainer.run

    def spy(self: Trainer, index: Tensor, rates: Any) -> Tensor:
        minded.extend([self._rounding is not None] * index.shape[1])
        return run(self, index, rates)

    monkeypatch.setattr(Trainer, "run", spy)
    expected = torch.tensor([1e-3, 1e-3]) if known else None
    make().fit(start(), targets(), no_progress, plan(start(), expected=expected))
    assert len(minded) == 12 * 6
    assert minded == sorted(minded)
    assert sum(minded) == (72 if known else 18)


@pytest.mark.parametrize("known", [False, True])
def test_a_budget_is_kept_by_every_volume(known: bool) -> None:
    expected = torch.tensor([1e-4, 1e-4]) if known else None
    free, _, codes = make().fit(start(), targets(), no_progress, plan(start(), expected=expected))
    assert codes is not None
    reference = plan(start()).reference
    part = slice(0, 2), slice(2, 4)
    full = [
        coded_bytes(free.map(lambda t: t[p]), codes[p], reference.map(lambda t: t[p]))  # noqa: B023
        for p in part
    ]
    for share in (0.8, 0.4):
        budget = share * min(full)
        own = plan(start(), expected=expected, budget=budget)
        siren, _, codes = make().fit(start(), targets(), no_progress, own)
        assert codes is not None
        for p in part:
            one = siren.map(lambda t: t[p])  # noqa: B023
            size = coded_bytes(one, codes[p], reference.map(lambda t: t[p]))  # noqa: B023
            # The coder's last words and the side information are estimated.
            assert 0.8 * budget < size < 1.02 * budget + 32
        grid = Rounding.of(reference, codes)
        assert torch.equal(grid.round(siren.flat()), siren.flat())


def test_a_budget_that_suffices_changes_nothing() -> None:
    free = make().fit(start(), targets(), no_progress, plan(start()))
    rich = make().fit(start(), targets(), no_progress, plan(start(), budget=1e6))
    assert torch.equal(free.siren.flat(), rich.siren.flat())
    assert free.codes is not None
    assert rich.codes is not None
    assert torch.equal(free.codes, rich.codes)


def test_a_budget_that_nothing_fits_ends_too() -> None:
    siren, _, codes = make(epochs=1).fit(start(), targets(), no_progress, plan(start(), budget=0.0))
    assert codes is not None
    assert int(codes.min()) == HIGHEST_CODE
    assert torch.equal(siren.flat(), plan(start()).reference.flat())


@pytest.mark.usefixtures("backend")
def test_volumes_are_rounded_as_if_alone() -> None:
    expected = torch.tensor([1e-3, 1e-5])
    together = make(epochs=2).fit(start(), targets(), no_progress, plan(start(), expected=expected))
    assert together.codes is not None
    for volume in range(2):
        own = slice(2 * volume, 2 * volume + 2)
        mine = start().map(lambda t: t[own])  # noqa: B023
        alone = make(epochs=2).fit(
            mine, targets()[own], no_progress, plan(mine, expected=expected[volume : volume + 1])
        )
        assert alone.codes is not None
        assert torch.equal(alone.codes, together.codes[own])
        steps = Rounding.of(mine, alone.codes).steps
        away = ((alone.siren.flat() - together.siren.flat()[own]) / steps).abs()
        assert float(away.mean()) < 0.05


def test_where_memory_is_short_parts_are_rounded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "serves", lambda *_: False)
    own = plan(start(), expected=torch.tensor([1e-3, 1e-3]))
    together = make(epochs=2).fit(start(), targets(), no_progress, own)
    monkeypatch.setattr(fitting, "_ACTIVATIONS", {"cpu": 56 * 12})
    apart = make(epochs=2).fit(start(), targets(), no_progress, own)
    assert together.codes is not None
    assert apart.codes is not None
    assert torch.equal(together.codes, apart.codes)
    steps = Rounding.of(own.reference, apart.codes).steps
    away = ((apart.siren.flat() - together.siren.flat()) / steps).abs()
    assert float(away.mean()) < 0.05


def test_networks_without_an_error_to_add_to_keep_fine_steps() -> None:
    """A volume that is fitted exactly: shares of nothing are nothing."""
    own = plan(start(), expected=torch.zeros(2))
    siren, _, codes = make(epochs=1).fit(start(), targets(), no_progress, own)
    assert codes is not None
    assert int(codes.max()) < 60
    assert torch.equal(Rounding.of(own.reference, codes).round(siren.flat()), siren.flat())


@pytest.mark.parametrize("init", ["random", "meta", "previous"])
def test_coding_costs_little(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    request: pytest.FixtureRequest,
    init: str,
) -> None:
    prior = request.getfixturevalue("prior") if init == "meta" else None
    series, rows = make_series(dims=(16, 16, 16)), {}
    for weights in ("float32", "coded"):
        config = dataclasses.replace(quick, init=init, epochs=8, weights=weights)
        archive = encode(series, tmp_path / f"{weights}.minr", prior=prior, config=config)
        rows[weights] = archive.records
    for coded, plain in zip(rows["coded"], rows["float32"], strict=True):
        assert coded.psnr > plain.psnr - 0.7
        assert coded.bytes < 0.55 * plain.bytes
    lost = [b.psnr - a.psnr for a, b in zip(rows["coded"], rows["float32"], strict=True)]
    assert sum(lost) / len(lost) < 0.4
