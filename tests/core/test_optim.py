"""Optimizers against torch.optim and a plain Muon for one network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metainr_core.config import SirenConfig
from metainr_core.optim import ITERATIONS, Adam, Descent, cosine, orthogonalize
from metainr_core.siren import initialize


def gradients_like(tensors: list[Tensor], seed: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(t.shape, generator=generator) for t in tensors]


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_adam_is_the_adam_of_torch(scale: float) -> None:
    start = gradients_like([torch.empty(3, 4, 5), torch.empty(3, 1, 5)], 0)
    mine = [t.clone() for t in start]
    theirs = [t.clone().requires_grad_() for t in start]
    adam = Adam(mine)
    reference = torch.optim.Adam(theirs, lr=0.01)
    for step, rate in enumerate((0.01, 0.01, 0.002, 0.03, 0.01, 0.0)):
        gradients = gradients_like(start, step + 1, scale)
        adam.step(gradients, rate)
        reference.param_groups[0]["lr"] = rate
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient
        reference.step()
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [1, 5, 16, 32])
def test_orthogonalized_singular_values_are_near_one(width: int) -> None:
    (batch,) = gradients_like([torch.empty(6, width, width)], 2)
    batch *= torch.logspace(-6, 6, 6)[:, None, None]
    result = orthogonalize(batch)
    assert result.shape == batch.shape
    values = torch.linalg.svdvals(result)
    assert float(values.max()) < 1.3
    # Four iterations lift values from a fiftieth of the norm on.
    norms = torch.linalg.matrix_norm(batch)[:, None]
    large = torch.linalg.svdvals(batch) > 0.02 * norms
    assert float(values[large].min()) > 0.5
    # Same singular vectors: the polar factor correlates fully with the matrix.
    u, _, v = torch.linalg.svd(batch, full_matrices=False)
    cosines = torch.nn.functional.cosine_similarity(result.flatten(1), (u @ v).flatten(1))
    assert float(cosines.min()) > 0.9


def test_orthogonalizing_nothing_gives_nothing() -> None:
    assert torch.equal(orthogonalize(torch.zeros(2, 4, 4)), torch.zeros(2, 4, 4))


class PlainMuon:
    """Muon for the hidden matrices of one network, one matrix at a time."""

    def __init__(self, matrices: list[Tensor], decay: float):
        self.matrices = matrices
        self.decay = decay
        self.moments = [torch.zeros_like(m) for m in matrices]

    def step(self, gradients: list[Tensor], rate: float) -> None:
        for matrix, moment, gradient in zip(self.matrices, self.moments, gradients, strict=True):
            moment.mul_(0.95).add_(0.05 * gradient)
            x = 0.05 * gradient + 0.95 * moment
            x = x / x.norm()
            for _ in range(ITERATIONS):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            matrix.mul_(1 - 1.5 * rate * self.decay).sub_(1.5 * rate * x)


@pytest.mark.parametrize("kind", ["adam", "muon"])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_each_network_is_updated_as_if_alone(layers: int, kind: str) -> None:
    decay = 1.0
    siren = initialize(SirenConfig(8, layers), 4, 2, torch.Generator().manual_seed(0))
    weights = siren.flat()
    descent = Descent(siren, kind == "muon", decay)
    hidden = list(range(2, 2 * layers + 2, 2)) if kind == "muon" else []
    rates = (0.01, 0.02, 0.0, 0.01)
    schedule = descent.schedule(rates[:2]), descent.schedule(rates[2:])
    rows = torch.cat(schedule)
    alone = []
    for n in range(4):
        tensors = [t[n].clone() for t in siren.tensors]
        matrices = [tensors[i] for i in hidden]
        rest = [t.requires_grad_() for i, t in enumerate(tensors) if i not in hidden]
        betas = (0.9, 0.99) if kind == "muon" else (0.9, 0.999)
        alone.append((tensors, PlainMuon(matrices, decay), torch.optim.Adam(rest, betas=betas)))
    for step, rate in enumerate(rates):
        gradients = gradients_like(siren.tensors, step)
        # Networks whose gradients differ by magnitudes must not share a normalisation.
        for gradient in gradients:
            gradient *= torch.tensor([1e-4, 1.0, 1e3, 0.1])[:, None, None]
        descent.step(weights, torch.cat([g.flatten(1) for g in gradients], 1), rows[step])
        for n, (tensors, muon, adam) in enumerate(alone):
            muon.step([gradients[i][n] for i in hidden], rate)
            adam.param_groups[0]["lr"] = rate
            for i, tensor in enumerate(tensors):
                if i not in hidden:
                    tensor.grad = gradients[i][n]
            adam.step()
    for i, found in enumerate(siren.view(weights).tensors):
        for n, (tensors, _, _) in enumerate(alone):
            torch.testing.assert_close(found[n], tensors[i].detach(), rtol=1e-4, atol=1e-5)


def test_a_restart_forgets_everything() -> None:
    siren = initialize(SirenConfig(8, 1), 2, 1, torch.Generator().manual_seed(0))
    descent = Descent(siren, True)
    gradients = torch.ones_like(siren.flat())

    def run() -> Tensor:
        weights = siren.flat()
        for row in descent.schedule([0.01] * 3):
            descent.step(weights, gradients, row)
        return weights

    first, second = run(), run()
    descent.restart()
    assert not torch.equal(first, second)
    assert torch.equal(first, run())


def test_cosine_falls_from_one_to_the_floor() -> None:
    assert cosine(0) == cosine(-1) == 1
    assert cosine(1) == cosine(2) == pytest.approx(0)
    assert cosine(0.5) == pytest.approx(0.5)
    assert cosine(1, 0.1) == pytest.approx(0.1)
    assert cosine(0.3, 1.0) == 1
    values = [cosine(i / 10, 0.2) for i in range(11)]
    assert values == sorted(values, reverse=True)
