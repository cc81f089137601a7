"""The fused library against ``siren.forward`` and autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metainr_core import fused
from metainr_core.config import SirenConfig
from metainr_core.fused import build
from metainr_core.rounding import Rounding, choose_codes
from metainr_core.sampling import coordinates
from metainr_core.siren import Siren, initialize, mean_squared_errors
from metainr_core.training import Samples, Trainer

CPU = torch.device("cpu")
needs_library = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
FORMATS = [torch.float32] + [torch.bfloat16] * fused.serves(CPU, torch.bfloat16)
# Relative to the largest gradient, or to the range of values.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def networks(count: int, width: int, layers: int, components: int) -> Siren:
    generator = torch.Generator().manual_seed(width)
    return initialize(SirenConfig(width, layers, 20.0), count, components, generator)


def gradients(siren: Siren, where: Tensor, values: Tensor) -> Tensor:
    """By autograd, ``(N, parameters)``."""
    leaves = [t.requires_grad_() for t in siren.clone().tensors]
    losses = mean_squared_errors(siren.with_tensors(leaves), where, values)
    return torch.cat([g.flatten(1) for g in torch.autograd.grad(losses.sum(), leaves)], 1)


@needs_library
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("width", "layers", "components", "batch"),
    [(16, 2, 1, 64), (64, 3, 1, 100), (20, 3, 2, 1), (17, 1, 3, 65), (1, 1, 1, 7), (100, 0, 2, 130)]
    + [(w, 1, 1, 10) for w in (31, 48, 80, 96, 112, 128, 144)],
)
def test_gradients_are_those_of_autograd(
    dtype: torch.dtype, width: int, layers: int, components: int, batch: int
) -> None:
    count, box = 3, (3, 7, 9)
    siren = networks(count, width, layers, components)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(count, 189, components, generator=generator)
    index = torch.randint(189, (1, 1, batch), generator=generator)
    where = coordinates(index[0], box)
    wanted = gradients(siren, where, values[:, index[0, 0]])
    # Adam's first moment after one step without memory is the gradient.
    weights = siren.flat()
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    losses = fused.fit(
        siren,
        weights,
        (first, second),
        fused.Settings(muon=False, hidden=True, beta_1=0.0, beta_2=0.0, momentum=0.0),
        values,
        None,
        box,
        index,
        torch.tensor([[0.0, 1.0, 0.0, 1.0]]),
        dtype,
    )
    tolerance = TOLERANCE[dtype]
    expected = mean_squared_errors(siren, where, values[:, index[0, 0]])
    torch.testing.assert_close(losses[0], expected, rtol=tolerance, atol=tolerance)
    for n in range(count):
        assert float((first - wanted)[n].abs().max()) < tolerance * float(wanted[n].abs().max())
    torch.testing.assert_close(second, first.square())
    assert torch.equal(weights, siren.flat()), "a step of size 0 changes nothing"


@needs_library
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize(
    ("width", "layers", "components"), [(16, 2, 1), (20, 3, 2), (17, 1, 3), (64, 3, 1), (9, 0, 2)]
)
def test_minding_the_rounding_is_what_pytorch_does(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    optimizer: str,
    width: int,
    layers: int,
    components: int,
) -> None:
    siren, box = networks(3, width, layers, components), (3, 7, 9)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(3, 189, components, generator=generator)
    index = torch.randint(189, (1, 8, 60), generator=generator).to(torch.int32)
    codes = choose_codes(siren, torch.tensor([1e-5, 1e-4, 1e-3]))
    rounding = Rounding.of(siren.map(lambda t: 0.95 * t), codes, pull=20.0)
    found = []
    for library in (True, False):
        if not library:
            monkeypatch.setattr(fused, "serves", lambda *_: False)
        trainer = Trainer(siren, Samples(values, box), optimizer, dtype)
        trainer.round_to(rounding)
        losses = trainer.run(index, [2e-3 * (8 - i) / 8 for i in range(8)])
        found.append((losses, trainer.weights))
    (losses, weights), (wanted, others) = found
    exact = dtype == torch.float32
    torch.testing.assert_close(losses[:4], wanted[:4], rtol=1e-4 if exact else 3e-2, atol=1e-5)
    torch.testing.assert_close(losses, wanted, rtol=3e-3 if exact else 0.1, atol=1e-5)
    # A weight in the middle between two places may be rounded to either.
    away = ((weights - others) / rounding.steps).abs()
    assert float(away.mean()) < (1e-3 if exact else 0.1)
    moved = (others - siren.flat()).norm()
    assert float((weights - others).norm() / moved) < (2e-3 if exact else 0.2)


@needs_library
@pytest.mark.parametrize("width", [8, 16, 20])
def test_a_network_that_diverges_does_not_touch_the_next(width: int) -> None:
    siren, box = networks(3, width, 2, 1), (4, 4, 4)
    values = torch.rand(3, 64, 1, generator=torch.Generator().manual_seed(0))
    broken = values.clone()
    broken[0] = torch.nan
    index = torch.arange(64).repeat(1, 3, 1)
    threads = torch.get_num_threads()
    results = []
    try:
        torch.set_num_threads(1)  # the same thread fits one after the other
        for wanted in (values, broken):
            trainer = Trainer(siren, Samples(wanted, box), "muon", torch.float32)
            trainer.run(index, [1e-3] * 3)
            results.append(trainer.weights)
    finally:
        torch.set_num_threads(threads)
    assert bool(results[1][0].isnan().any())
    assert torch.equal(results[0][1:], results[1][1:])
