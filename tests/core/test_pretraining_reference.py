"""Learning the prior against plain implementations of the published methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.layout import BrickLayout
from metainr_core.pretraining import _Rounds, pretrain
from metainr_core.prior import Prior
from metainr_core.sampling import draw_samples
from metainr_core.series import ArraySeries, no_progress
from metainr_core.siren import initialize
from metainr_core.training import random_generator

Maker = Callable[..., ArraySeries]


class Plain:
    """One SIREN, its loss and torch's own Adam: what the published method is made of."""

    def __init__(self, tensors: list[Tensor], omega_0: float):
        self.parameters = [t.detach().clone().requires_grad_() for t in tensors]
        self.omega_0 = omega_0

    def loss(self, where: Tensor, values: Tensor) -> Tensor:
        hidden = where
        for i in range(0, len(self.parameters), 2):
            hidden = hidden @ self.parameters[i] + self.parameters[i + 1]
            if i < len(self.parameters) - 2:
                hidden = torch.sin(self.omega_0 * hidden)
        return (hidden - values).square().mean()

    def descend(self, where: Tensor, values: Tensor, passes: int, rate: float) -> None:
        adam = torch.optim.Adam(self.parameters, lr=rate)
        for _ in range(passes):
            adam.zero_grad()
            self.loss(where, values).backward()
            adam.step()


def points(volume: np.ndarray, every: int) -> tuple[Tensor, Tensor]:
    """Coordinates ``(n, 3)`` in [-1, 1] and values ``(n, 1)`` of every n-th voxel per axis."""
    axes = [np.linspace(-1, 1, n)[::every] for n in volume.shape[:3]]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    where = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    values = volume[::every, ::every, ::every].reshape(-1, 1)
    return torch.tensor(where, dtype=torch.float32), torch.tensor(values)


def assert_same_weights(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert float((a.reshape(b.shape) - b).abs().max()) < tolerance


def test_the_paper_preset_step_for_step(tmp_path: Path, make_series: Maker) -> None:
    """Four rounds of the published Reptile, then the published encoding, written out anew."""
    rounds = 4
    siren = SirenConfig(16, 2, 30.0, first_scale=1.0)
    series = make_series(steps=5, dims=(20, 16, 12))
    config = PretrainConfig.preset("paper", siren=siren, outer_steps=rounds, seed=7, device="cpu")
    prior = pretrain(series, config)

    sampled = [points(series.read(t), 4) for t in (0, 2, 4)]
    lowest = min(float(series.read(t).min()) for t in (0, 2, 4))
    highest = max(float(series.read(t).max()) for t in (0, 2, 4))
    assert prior.value_range.low[0] == lowest
    assert prior.value_range.high[0] == highest
    assert prior.voxel_share == pytest.approx(5 * 4 * 3 * 3 / (20 * 16 * 12 * 5))
    centre, half = (lowest + highest) / 2, (highest - lowest) / 2
    tasks = [(where, (values - centre) / half) for where, values in sampled]

    start = initialize(siren, 1, 1, random_generator(7)).map(lambda t: t[0])
    theta = Plain(start.tensors, 30.0)
    outer = torch.optim.Adam(theta.parameters, lr=1e-4)
    for _ in range(rounds):
        adapted = []
        for where, values in tasks:
            inner = Plain(theta.parameters, 30.0)
            inner.descend(where, values, passes=16, rate=1e-4)
            adapted.append(inner.parameters)
        for parameter, *results in zip(theta.parameters, *adapted, strict=True):
            parameter.grad = (parameter - sum(results) / len(results)).detach()
        outer.step()

    moved = max(
        float((a - b).detach().abs().max())
        for a, b in zip(theta.parameters, start.tensors, strict=True)
    )
    assert moved > 2e-4, "the comparison needs weights that have moved"
    assert_same_weights(prior.siren.tensors, [p.detach() for p in theta.parameters], 1e-5)

    fit = EncodeConfig.preset("paper", device="cpu", siren=siren)
    archive = encode(series, tmp_path / "run.minr", prior=prior, config=fit, steps=[1])
    where, values = points(series.read(1), 1)
    encoded = Plain([t[0] for t in prior.siren.tensors], 30.0)
    encoded.descend(where, (values - centre) / half, passes=16, rate=1e-5)
    assert_same_weights(
        archive.load_step(1).tensors, [p.detach() for p in encoded.parameters], 2e-6
    )


def rounds_of(series: ArraySeries, config: PretrainConfig) -> _Rounds:
    assert config.siren is not None
    layout = BrickLayout.of(series.grid.dims, config.siren.brick_size)
    samples = draw_samples(series, layout, config, no_progress)
    start = initialize(config.siren, 1, 1, random_generator(3))
    prior = Prior(start, config.siren, config, "values", 1, samples.value_range, 1.0, [], "")
    return _Rounds(prior, samples, torch.device("cpu"))


def meta_loss(tensors: list[Tensor], rounds: _Rounds, steps: int, rate: float) -> Tensor:
    """Summed loss of all tasks after plain descent from ``tensors``; float64, no batching."""
    total = torch.zeros((), dtype=torch.float64)
    tasks, samples = rounds.samples.values.shape[:2]
    where, values = rounds.samples.minibatch(torch.arange(samples).expand(tasks, -1))
    for x, v in zip(where.double(), values.double(), strict=True):
        network = Plain(tensors, rounds.siren.omega_0)
        for _ in range(steps):
            gradients = torch.autograd.grad(network.loss(x, v), network.parameters)
            moved = [p - rate * g for p, g in zip(network.parameters, gradients, strict=True)]
            network = Plain(moved, rounds.siren.omega_0)
        total += network.loss(x, v).detach()
    return total


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_gradients_are_finite_differences_of_the_adapted_loss(
    make_series: Maker, learning: PretrainConfig, steps: int
) -> None:
    # Every voxel in every minibatch: the loss does not depend on what is drawn.
    config = dataclasses.replace(
        learning,
        siren=SirenConfig(5, 1, 3.0),
        sampling="lattice",
        lambda_s=2,
        outer="maml",
        inner_steps=steps,
        learning_rate=0.05,
        outer_learning_rate=1e-3,
    )
    rounds = rounds_of(make_series(steps=3, dims=(6, 5, 4)), config)
    tasks = torch.arange(len(rounds.samples.values))
    gradients, before, after = rounds._maml(tasks, torch.Generator())
    theta = [t[0].double() for t in rounds.siren.tensors]
    total = meta_loss(theta, rounds, steps, 0.05)
    assert float(after.sum()) == pytest.approx(float(total), rel=1e-5)
    assert float(before.sum()) == pytest.approx(float(meta_loss(theta, rounds, 0, 0)), rel=1e-5)
    for place, (tensor, gradient) in enumerate(zip(theta, gradients, strict=True)):
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            ends = []
            for sign in (1, -1):
                moved = list(theta)
                moved[place] = tensor + sign * 1e-5 * direction
                ends.append(meta_loss(moved, rounds, steps, 0.05))
            slope = float(ends[0] - ends[1]) / 2e-5
            found = float((gradient[0].double() * direction).sum())
            assert found == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_fomaml_gradients_are_those_at_the_adapted_weights(
    make_series: Maker, learning: PretrainConfig
) -> None:
    config = dataclasses.replace(
        learning,
        siren=SirenConfig(5, 1, 3.0),
        sampling="lattice",
        lambda_s=2,
        outer="fomaml",
        optimizer="adam",
        inner_steps=4,
        inner_floor=1.0,
        outer_learning_rate=1e-3,
    )
    rounds = rounds_of(make_series(steps=3, dims=(6, 5, 4)), config)
    tasks = torch.arange(len(rounds.samples.values))
    gradients, _, after = rounds._fomaml(tasks, torch.Generator())
    expected = [torch.zeros_like(t[0]) for t in rounds.siren.tensors]
    columns = torch.arange(rounds.samples.values.shape[1]).expand(len(tasks), -1)
    minibatch = rounds.samples.minibatch(columns)
    for task, (where, values) in enumerate(zip(*minibatch, strict=True)):
        network = Plain([t[0] for t in rounds.siren.tensors], 3.0)
        network.descend(where, values, 4, config.learning_rate)
        loss = network.loss(where, values)
        assert float(after[task]) == pytest.approx(float(loss.detach()), rel=1e-4)
        for total, part in zip(
            expected, torch.autograd.grad(loss, network.parameters), strict=True
        ):
            total += part
    for found, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found[0], right, rtol=1e-3, atol=1e-4)


def test_reptile_moves_to_the_mean_of_the_tasks(
    make_series: Maker, learning: PretrainConfig
) -> None:
    """The first of all rounds goes the whole way, the last of two half of it."""
    base = dataclasses.replace(
        learning,
        sampling="lattice",
        lambda_s=2,
        tasks=0,
        optimizer="adam",
        inner_floor=1.0,
        outer_steps=1,
        batch_size=10_000,
        seed=3,
    )
    series = make_series(steps=3)
    prior = pretrain(series, base)
    assert prior.history[0]["round"] == 1
    centre, half = prior.value_range.scale()
    results = []
    dims = series.grid.dims
    shape = (dims[2], dims[1], dims[0])
    start = initialize(base.siren or SirenConfig(), 1, 1, random_generator(3), shape)
    for step in (0, 2):
        network = Plain([t[0] for t in start.tensors], 10.0)
        where, values = points(series.read(step), 2)
        network.descend(where, (values - centre[0]) / half[0], 8, base.learning_rate)
        results.append(network.parameters)
    means = [(a + b).detach() / 2 for a, b in zip(*results, strict=True)]
    assert_same_weights(prior.siren.tensors, means, 1e-4)
