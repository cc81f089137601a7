"""Fitting in rounds and in groups of networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from metainr_core import fitting, fused
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.errors import Cancelled, DeviceError, MetaINRWarning
from metainr_core.fitting import Fitting, chosen_decay
from metainr_core.sampling import coordinates
from metainr_core.series import no_progress
from metainr_core.siren import Siren, forward, initialize, mean_squared_errors
from metainr_core.training import Samples, Trainer

SHAPE = (4, 5, 6)


def start(networks: int = 3) -> Siren:
    return initialize(SirenConfig(8, 1, 10.0), networks, 1, torch.Generator().manual_seed(0))


def targets(networks: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(networks, 120, 1, generator=generator) - 0.5


def make(wanted: float = 0.0, bricks: int = 3, **changes: Any) -> Fitting:
    config = EncodeConfig(init="random", epochs=4, batch_size=30, learning_rate=1e-3)
    config = dataclasses.replace(config, **changes)
    return Fitting(config, SHAPE, bricks, torch.float32, wanted)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 8])
def test_a_target_out_of_reach_spends_all_passes_in_growing_rounds(epochs: int) -> None:
    rounds = list(make(1e-30, epochs=epochs)._rounds())
    sizes = [size for _, size in rounds]
    assert [spent for spent, _ in rounds] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert sum(sizes) == epochs
    assert sizes == sorted(sizes[:-1]) + sizes[-1:]
    assert make(1e-30, epochs=epochs).fit(start(), targets(), no_progress).passes == [epochs]
    assert list(make(0.0, epochs=epochs)._rounds()) == [(0, epochs)]


def test_a_target_in_reach_stops_after_the_first_pass() -> None:
    assert make(1e3).fit(start(), targets(), no_progress).passes == [1]


def test_volumes_that_reached_the_target_are_left_alone() -> None:
    values = targets()
    values[1] *= 1e-3
    config = {"epochs": 8, "learning_rate": 1e-2}
    fitted, passes, *_ = make(0.01, 1, **config).fit(start(), values, no_progress)
    assert passes[0] == passes[2] == 8
    assert passes[1] < 8
    shorter, *_ = make(0.0, 1, **{**config, "epochs": 1}).fit(start(), values, no_progress)
    if passes[1] == 1:
        assert torch.equal(fitted.flat()[1], shorter.flat()[1])


def test_volumes_are_fitted_together_as_if_alone() -> None:
    together, passes, *_ = make(bricks=1).fit(start(), targets(), no_progress)
    assert passes == [4, 4, 4]
    for n in range(3):
        own = slice(n, n + 1)
        alone, *_ = make(bricks=1).fit(
            start().map(lambda t: t[own]),  # noqa: B023
            targets()[own],
            no_progress,
        )
        torch.testing.assert_close(alone.flat(), together.flat()[own], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("voxels", "batches"), [(120, 4), (121, 4), (5, 3), (7, 1)])
def test_every_voxel_is_seen_in_every_pass(voxels: int, batches: int) -> None:
    samples = Samples(torch.zeros(2, voxels, 1), (1, 1, voxels))
    order = make()._order(samples, None, batches, 0)
    assert order.shape[:2] == (1, batches)
    assert order.unique().tolist() == list(range(voxels))
    assert order.numel() < voxels + batches
    assert not torch.equal(order, make()._order(samples, None, batches, 1))
    shares = torch.rand(2, voxels)
    drawn = make()._order(samples, shares / shares.sum(1, keepdim=True), batches, 0)
    assert drawn.shape == (2, *order.shape[1:])


def test_drawing_by_gradient_fits_fronts_better() -> None:
    """A sharp ball in a quiet volume: the large errors are where the values change."""
    shape = (32, 32, 32)
    where = coordinates(torch.arange(32**3), shape)[None]
    away = (where - torch.tensor([0.3, -0.4, 0.2])).norm(dim=2, keepdim=True)
    values = torch.tanh(40 * (0.4 - away))
    errors = []
    for selection in ("all", "gradient"):
        config = EncodeConfig(
            init="random", epochs=4, batch_size=256, learning_rate=1e-3, selection=selection
        )
        generator = torch.Generator().manual_seed(0)
        siren = initialize(SirenConfig(32, 2), 1, 1, generator, shape)
        fitting = Fitting(config, shape, 1, torch.float32)
        fitted, *_ = fitting.fit(siren, values, no_progress)
        error = forward(fitted, where) - values
        errors.append([float(error.abs().max()), float(error.square().mean())])
    (largest, mean), (largest_drawn, mean_drawn) = errors
    assert largest_drawn < 0.5 * largest
    assert mean_drawn < 0.6 * mean


@pytest.mark.parametrize("limit", [1, 2])
def test_where_memory_is_short_fewer_networks_are_fitted_at_once(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    together, *_ = make().fit(start(), targets(), no_progress)
    run = Trainer.run

    def short(self: Trainer, index: Tensor, rates: Sequence[float]) -> Tensor:
        result = run(self, index, rates)
        if len(self.weights) > limit:
            raise torch.OutOfMemoryError("no memory")
        return result

    monkeypatch.setattr(Trainer, "run", short)
    with pytest.warns(MetaINRWarning, match="1 networks are fitted at once"):
        apart, *_ = make().fit(start(), targets(), no_progress)
    torch.testing.assert_close(together.flat(), apart.flat(), rtol=1e-4, atol=1e-5)
    limit = 0
    with (
        pytest.raises(DeviceError, match="batch_size"),
        pytest.warns(MetaINRWarning, match="memory is short"),
    ):
        make().fit(start(), targets(), no_progress)


def test_a_fit_is_better_than_its_start() -> None:
    where = coordinates(torch.arange(120), SHAPE)[None]
    before = mean_squared_errors(start(), where, targets())
    fitted, *_ = make(epochs=20, learning_rate=1e-2).fit(start(), targets(), no_progress)
    assert (mean_squared_errors(fitted, where, targets()) < 0.9 * before).all()


@pytest.mark.parametrize("at_once", [1, 2])
def test_groups_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    together, *_ = make().fit(start(), targets(), no_progress)
    monkeypatch.setattr(fused, "serves", lambda *_: False)
    monkeypatch.setattr(fitting, "_ACTIVATIONS", {"cpu": 8 * 30 * at_once})
    apart, *_ = make().fit(start(), targets(), no_progress)
    for a, b in zip(together.tensors, apart.tensors, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_progress_rises_to_the_last_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "serves", lambda *_: False)
    monkeypatch.setattr(fitting, "_ACTIVATIONS", {"cpu": 1})
    monkeypatch.setattr(fitting, "_REPORT_EVERY", 1)
    seen: list[float] = []
    make(1e-30, epochs=3).fit(start(), targets(), lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 0.9 < seen[-1] < 1


def test_the_target_is_checked_on_few_voxels_however_many_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "_CHECK_VOXELS", 640)
    sizes: list[int] = []

    def errors(siren: Siren, where: Tensor, values: Tensor) -> Tensor:
        sizes.append(values.numel())
        return mean_squared_errors(siren, where, values)

    monkeypatch.setattr(fitting, "mean_squared_errors", errors)
    make(1e-30, 10, epochs=2).fit(start(10), targets(10), no_progress)
    assert sizes == [640, 640]


def test_longer_fits_decay_more() -> None:
    config = EncodeConfig(learning_rate=1e-3)
    decays = [chosen_decay(config, n) for n in (100, 1000, 4000, 10_000, 10**9)]
    assert decays == sorted(decays)
    assert decays[0] < 0.01
    assert decays[2] == pytest.approx(0.3)
    assert decays[-1] == 1
    assert chosen_decay(dataclasses.replace(config, schedule="constant"), 2000) == decays[2]


def test_cancelling_goes_through() -> None:
    def stop(fraction: float, message: str) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        make().fit(start(), targets(), stop)
