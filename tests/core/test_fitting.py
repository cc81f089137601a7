"""Fitting in rounds and in groups of networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from metainr_core import fitting
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.errors import Cancelled
from metainr_core.fitting import Fitting, chosen_decay
from metainr_core.series import no_progress
from metainr_core.siren import Siren, initialize, mean_squared_errors

SHAPE = (4, 5, 6)


def start(networks: int = 3) -> Siren:
    return initialize(SirenConfig(8, 1, 10.0), networks, 1, torch.Generator().manual_seed(0))


def targets(networks: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(networks, 120, 1, generator=generator) - 0.5


def make(wanted: float = 0.0, **changes: Any) -> Fitting:
    config = EncodeConfig(init="random", epochs=4, batch_size=30)
    config = dataclasses.replace(config, **changes)
    return Fitting(config, SHAPE, torch.float32, (7, 0), wanted)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 8])
def test_a_target_out_of_reach_spends_all_passes_in_growing_rounds(epochs: int) -> None:
    rounds = list(make(1e-30, epochs=epochs)._rounds())
    assert sum(rounds) == epochs
    assert rounds == sorted(rounds[:-1]) + rounds[-1:]
    assert make(1e-30, epochs=epochs).fit(start(), targets(), no_progress)[1] == epochs
    assert list(make(0.0, epochs=epochs)._rounds()) == [epochs]


def test_a_target_in_reach_stops_after_the_first_pass() -> None:
    assert make(1e3).fit(start(), targets(), no_progress)[1] == 1


def test_a_fit_is_better_than_its_start() -> None:
    from metainr_core.sampling import coordinates

    where = coordinates(torch.arange(120), SHAPE)[None]
    before = mean_squared_errors(start(), where, targets())
    fitted, _ = make(epochs=20, learning_rate=1e-2).fit(start(), targets(), no_progress)
    assert (mean_squared_errors(fitted, where, targets()) < 0.9 * before).all()


@pytest.mark.parametrize("at_once", [1, 2])
def test_groups_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    together, _ = make().fit(start(), targets(), no_progress)
    monkeypatch.setattr(fitting, "_ACTIVATIONS", 8 * 30 * at_once)
    apart, _ = make().fit(start(), targets(), no_progress)
    for a, b in zip(together.tensors, apart.tensors, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_progress_rises_to_the_last_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_ACTIVATIONS", 1)
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
    make(1e-30, epochs=2).fit(start(10), targets(10), no_progress)
    assert sizes == [640, 640]


def test_longer_fits_decay_more() -> None:
    config = EncodeConfig()
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
