"""Networks: initial weights, the forward pass, and hand-written gradients against autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from metainr_core.config import SirenConfig
from metainr_core.siren import (
    Siren,
    first_ranges,
    forward,
    initialize,
    loss_and_gradients,
    mean_squared_errors,
)


def make_batch(
    config: SirenConfig, networks: int, components: int, shared: bool = False, n: int = 37
) -> tuple[Siren, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    siren = initialize(config, networks, components, generator)
    where = torch.rand(1 if shared else networks, n, 3, generator=generator) * 2 - 1
    values = torch.rand(networks, n, components, generator=generator) * 2 - 1
    return siren, where, values


def by_autograd(siren: Siren, where: Tensor, values: Tensor) -> tuple[Tensor, list[Tensor]]:
    siren = siren.map(lambda t: t.detach().requires_grad_())
    losses = mean_squared_errors(siren, where, values)
    return losses.detach(), list(torch.autograd.grad(losses.sum(), siren.tensors))


SHAPES = [
    (SirenConfig(8, 0, 30.0), 1, 1, False),
    (SirenConfig(8, 1, 30.0), 3, 1, False),
    (SirenConfig(16, 3, 15.0), 2, 3, True),
    (SirenConfig(5, 2, 1.0), 17, 2, True),
    (SirenConfig(1, 1, 4.0), 2, 1, False),
    (SirenConfig(32, 5, 30.0, first_scale=1.0), 1, 1, True),
]


@pytest.mark.parametrize(("config", "networks", "components", "shared"), SHAPES)
def test_gradients_are_those_of_autograd(
    config: SirenConfig, networks: int, components: int, shared: bool
) -> None:
    batch = make_batch(config, networks, components, shared)
    loss, gradients = loss_and_gradients(*batch)
    expected_loss, expected = by_autograd(*batch)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    assert len(gradients) == len(expected)
    for found, right in zip(gradients, expected, strict=True):
        scale = float(right.abs().max())
        torch.testing.assert_close(found, right, rtol=1e-4, atol=2e-5 * scale)


@pytest.mark.parametrize(("config", "networks", "components", "shared"), SHAPES)
def test_bf16_gradients_point_the_same_way(
    config: SirenConfig, networks: int, components: int, shared: bool
) -> None:
    batch = make_batch(config, networks, components, shared, n=256)
    loss, gradients = loss_and_gradients(*batch, torch.bfloat16)
    expected_loss, expected = by_autograd(*batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected_loss, rtol=0.02, atol=1e-3)
    for found, right in zip(gradients, expected, strict=True):
        assert found.dtype == torch.float32
        for a, b in zip(found.flatten(1), right.flatten(1), strict=True):
            assert float((a - b).norm()) < 0.05 * float(b.norm()) + 1e-4


def test_gradients_need_no_graph_and_leave_the_weights_alone() -> None:
    siren, where, values = make_batch(SirenConfig(8, 1), 2, 1)
    before = siren.clone()
    _, gradients = loss_and_gradients(siren, where, values)
    assert not any(g.requires_grad for g in gradients)
    assert all(torch.equal(a, b) for a, b in zip(siren.tensors, before.tensors, strict=True))


def test_forward_is_the_published_formula() -> None:
    siren, where, _ = make_batch(SirenConfig(6, 2, 7.0), 3, 2)
    found = forward(siren, where).numpy()
    for network in range(3):
        hidden = where[network].numpy().astype(np.float64)
        for layer in range(4):
            weight = siren.weights[layer][network].numpy().astype(np.float64)
            hidden = hidden @ weight + siren.biases[layer][network].numpy()
            hidden = np.sin(7.0 * hidden) if layer < 3 else hidden
        assert found[network] == pytest.approx(hidden, abs=1e-5)


def test_shared_coordinates_serve_every_network() -> None:
    siren, where, _ = make_batch(SirenConfig(6, 1), 4, 1, shared=True)
    torch.testing.assert_close(forward(siren, where), forward(siren, where.expand(4, -1, -1)))


@pytest.mark.parametrize(
    ("shape", "brick_size", "expected"),
    [
        ((64, 64, 64), 0, (0.5, 0.5, 0.5)),
        ((33, 33, 33), 32, (0.25, 0.25, 0.25)),
        # (nz, ny, nx) to x, y, z: as the voxels are, the usual range at most.
        ((10, 80, 80), 0, (1.0, 1.0, 0.125)),
        ((24, 60, 160), 0, (1.0, 0.489, 0.196)),
        ((1, 1, 1), 0, (0.5, 0.5, 0.5)),
    ],
)
def test_first_ranges_follow_the_grid(
    shape: tuple[int, int, int], brick_size: int, expected: tuple[float, ...]
) -> None:
    config = SirenConfig(8, 1, brick_size=brick_size)
    assert first_ranges(config, shape) == pytest.approx(expected, abs=1e-3)
    fixed = SirenConfig(8, 1, first_scale=0.7, brick_size=brick_size)
    assert first_ranges(fixed, shape) == (0.7, 0.7, 0.7)
    siren = initialize(config, 50, 1, torch.Generator().manual_seed(0), shape)
    largest = siren.weights[0].abs().amax(dim=(0, 2))
    torch.testing.assert_close(largest, torch.tensor(expected) / 3, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("first_scale", [0.5, 1.0])
def test_initial_weights_fill_their_ranges(first_scale: float) -> None:
    config = SirenConfig(64, 2, 20.0, first_scale=first_scale)
    siren = initialize(config, 8, 1, torch.Generator().manual_seed(1))
    bounds = [first_scale / 3] + [math.sqrt(6 / 64) / 20.0] * 3
    for layer, (weight, bound) in enumerate(zip(siren.weights, bounds, strict=True)):
        largest = float(weight.abs().max())
        assert 0.95 * bound < largest <= bound, layer
        assert float(weight.mean().abs()) < 0.1 * bound
        assert not torch.equal(weight[0], weight[1])
    for bias, inputs in zip(siren.biases, (3, 64, 64, 64), strict=True):
        assert float(bias.abs().max()) <= 1 / math.sqrt(inputs)
    shapes = [tuple(t.shape) for t in siren.tensors]
    assert shapes == [(8, 3, 64), (8, 1, 64), *[(8, 64, 64), (8, 1, 64)] * 2, (8, 64, 1), (8, 1, 1)]


def test_initial_weights_repeat_with_the_generator() -> None:
    first, second = (
        initialize(SirenConfig(8, 1), 2, 1, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first.tensors, second.tensors, strict=True))


def test_repeated_networks_are_independent() -> None:
    siren = initialize(SirenConfig(4, 1), 1, 1, torch.Generator().manual_seed(0))
    copies = siren.repeat(3)
    copies.weights[0][1].zero_()
    assert copies.networks == 3
    assert torch.equal(copies.weights[0][2], siren.weights[0][0])
    assert float(siren.weights[0].abs().min()) > 0
