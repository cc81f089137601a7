"""Optimizers against torch.optim and a plain Muon for one network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metainr_core.config import SirenConfig
from metainr_core.optim import Adam, MuonAdam, cosine, orthogonalize
from metainr_core.siren import initialize


def gradients_like(tensors: list[Tensor], seed: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(t.shape, generator=generator) for t in tensors]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_adam_is_the_adam_of_torch(betas: tuple[float, float], scale: float) -> None:
    start = gradients_like([torch.empty(3, 4, 5), torch.empty(3, 1, 5)], 0)
    mine = [t.clone() for t in start]
    theirs = [t.clone().requires_grad_() for t in start]
    adam = Adam(mine, betas)
    reference = torch.optim.Adam(theirs, lr=0.01, betas=betas)
    for step, rate in enumerate((0.01, 0.01, 0.002, 0.03, 0.01, 0.0)):
        gradients = gradients_like(start, step + 1, scale)
        adam.step(gradients, rate)
        reference.param_groups[0]["lr"] = rate
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient
        reference.step()
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8), (1, 5)])
def test_orthogonalized_singular_values_are_near_one(shape: tuple[int, int]) -> None:
    (batch,) = gradients_like([torch.empty(6, *shape)], 2)
    batch *= torch.logspace(-6, 6, 6)[:, None, None]
    result = orthogonalize(batch)
    assert result.shape == batch.shape
    values = torch.linalg.svdvals(result)
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3
    # Same singular vectors: the polar factor correlates fully with the matrix.
    u, _, v = torch.linalg.svd(batch, full_matrices=False)
    cosines = torch.nn.functional.cosine_similarity(result.flatten(1), (u @ v).flatten(1))
    assert float(cosines.min()) > 0.95


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
            for _ in range(5):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            matrix.mul_(1 - 1.5 * rate * self.decay).sub_(1.5 * rate * x)


@pytest.mark.parametrize("decay", [0.0, 1.0])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_muon_updates_each_network_as_if_alone(layers: int, decay: float) -> None:
    siren = initialize(SirenConfig(8, layers), 4, 2, torch.Generator().manual_seed(0))
    start = siren.clone()
    muon = MuonAdam(siren.tensors, decay)
    hidden = list(range(2, 2 * layers + 2, 2))
    others = [i for i in range(len(siren.tensors)) if i not in hidden]
    plain = [[start.tensors[i][n].clone() for i in hidden] for n in range(4)]
    muons = [PlainMuon(matrices, decay) for matrices in plain]
    rest = [start.tensors[i].clone() for i in others]
    adam = Adam(rest, muon.adam.betas)
    for step in range(4):
        gradients = gradients_like(siren.tensors, step)
        # Networks whose gradients differ by magnitudes must not share a normalisation.
        for gradient in gradients:
            gradient *= torch.tensor([1e-4, 1.0, 1e3, 0.1])[:, None, None]
        muon.step(gradients, 0.01)
        adam.step([gradients[i] for i in others], 0.01)
        for network, reference in enumerate(muons):
            reference.step([gradients[i][network] for i in hidden], 0.01)
    for network in range(4):
        for place, i in enumerate(hidden):
            torch.testing.assert_close(
                siren.tensors[i][network], plain[network][place], rtol=1e-4, atol=1e-5
            )
    for place, i in enumerate(others):
        torch.testing.assert_close(siren.tensors[i], rest[place])


def test_cosine_falls_from_one_to_the_floor() -> None:
    assert cosine(0) == cosine(-1) == 1
    assert cosine(1) == cosine(2) == pytest.approx(0)
    assert cosine(0.5) == pytest.approx(0.5)
    assert cosine(1, 0.1) == pytest.approx(0.1)
    assert cosine(0.3, 1.0) == 1
    values = [cosine(i / 10, 0.2) for i in range(11)]
    assert values == sorted(values, reverse=True)
