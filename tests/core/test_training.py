"""Minibatch descent: a batch of networks is as many runs of one."""

from __future__ import annotations

import pytest
import torch

from metainr_core.config import SirenConfig
from metainr_core.siren import Siren, forward, initialize
from metainr_core.training import Trainer, random_generator


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_networks_of_a_batch_do_not_touch_each_other(optimizer: str) -> None:
    generator = torch.Generator().manual_seed(0)
    siren = initialize(SirenConfig(8, 2, 10.0), 3, 1, generator)
    where = torch.rand(3, 50, 3, generator=generator) * 2 - 1
    values = torch.rand(3, 50, 1, generator=generator)
    singles = [
        Siren(
            [w[n : n + 1].clone() for w in siren.weights],
            [b[n : n + 1].clone() for b in siren.biases],
            10.0,
        )
        for n in range(3)
    ]
    together = Trainer(siren, optimizer, torch.float32)
    apart = [Trainer(s, optimizer, torch.float32) for s in singles]
    for _ in range(5):
        losses = together.step(where, values, 1e-3)
        for n, trainer in enumerate(apart):
            loss = trainer.step(where[n : n + 1], values[n : n + 1], 1e-3)
            torch.testing.assert_close(losses[n : n + 1], loss, rtol=1e-4, atol=1e-6)
    for n, single in enumerate(singles):
        for a, b in zip(siren.tensors, single.tensors, strict=True):
            torch.testing.assert_close(a[n : n + 1], b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_descent_descends(optimizer: str, dtype: torch.dtype) -> None:
    siren = initialize(SirenConfig(16, 1, 10.0), 2, 1, torch.Generator().manual_seed(1))
    where = torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(2)) * 2 - 1
    values = torch.sin(2 * where.sum(2, keepdim=True)).repeat(2, 1, 1)
    trainer = Trainer(siren, optimizer, dtype)
    losses = [trainer.step(where, values, 3e-3) for _ in range(60)]
    assert bool((losses[-1] < 0.1 * losses[0]).all())
    # The loss returned is that before the step, and the weights are updated in place.
    after = (forward(siren, where) - values).square().mean((1, 2))
    assert bool((after < 0.2 * losses[0]).all())


def test_generators_are_told_apart_by_every_seed() -> None:
    def draw(*seeds: int) -> float:
        return float(torch.rand(1, generator=random_generator(*seeds), dtype=torch.float64))

    assert draw(1, 2) == draw(1, 2)
    tuples = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (2**31 - 1, 5, 7)]
    assert len({draw(*t) for t in tuples}) == len(tuples)
