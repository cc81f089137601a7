"""Grids of weights: numbers and places, and steps chosen by what rounding does to the output."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from metainr_core.config import SirenConfig
from metainr_core.rounding import (
    HIGHEST_CODE,
    LARGEST,
    Rounding,
    choose_codes,
    sensitivities,
)
from metainr_core.siren import Siren, forward, initialize

SHAPES = [(8, 1, 1), (12, 2, 2), (6, 0, 1), (10, 3, 3)]


def networks(count: int, width: int = 8, layers: int = 1, components: int = 1) -> Siren:
    config = SirenConfig(width, layers, 10.0)
    return initialize(config, count, components, torch.Generator().manual_seed(width))


def points(count: int) -> Tensor:
    return torch.rand(1, count, 3, generator=torch.Generator().manual_seed(5)) * 2 - 1


def one_step(reference: Tensor, code: int) -> Rounding:
    """All weights ``(N, n)`` share a step."""
    flat = Siren([reference[:, :, None]], [torch.zeros(len(reference), 1, 1)], 1.0)
    return Rounding.of(flat, torch.full((len(reference), 2), code, dtype=torch.uint8))


def check_steps(device: torch.device) -> None:
    codes = torch.arange(256, dtype=torch.uint8, device=device)[:, None]
    siren = Siren([torch.zeros(256, 1, 1, device=device)], [], 1.0)
    siren = Siren(siren.weights, [torch.zeros(256, 1, 1, device=device)], 1.0)
    steps = Rounding.of(siren, codes.expand(-1, 2)).steps[:, 0].cpu()
    exact = [2.0 ** (code / 8 - 24) for code in range(256)]
    torch.testing.assert_close(steps, torch.tensor(exact), rtol=1e-6, atol=0)
    # To the last bit: every machine must read the same weights.
    assert steps[::8].tolist() == exact[::8]
    assert torch.equal(steps[8:], 2 * steps[:-8])
    assert (steps.double() * 2**48).frac().abs().max() == 0


def test_steps_are_exact() -> None:
    check_steps(torch.device("cpu"))


@pytest.mark.cuda
def test_steps_are_exact_on_the_device(cuda: torch.device) -> None:
    check_steps(cuda)


def test_every_tensor_has_its_step() -> None:
    siren = networks(2, 5, 1, 2)
    codes = torch.arange(12, dtype=torch.uint8).view(2, 6) * 8
    grid = siren.view(Rounding.of(siren, codes).steps)
    for n in range(2):
        for tensor, code in zip(grid.tensors, codes[n].tolist(), strict=True):
            assert (tensor[n] == 2.0 ** (code / 8 - 24)).all()


@pytest.mark.parametrize("code", [0, 3, 64, 101, 255])
def test_numbers_are_those_of_places(code: int) -> None:
    generator = torch.Generator().manual_seed(code)
    numbers = torch.randint(-LARGEST, LARGEST + 1, (3, 400), generator=generator).int()
    numbers[:, :3] = torch.tensor([-LARGEST, LARGEST, 0]).int()
    numbers[:, -1] = 0  # the bias
    grid = one_step(torch.zeros(3, 399), code)
    assert torch.equal(grid.numbers(grid.place(numbers)), numbers)
    # Beside a reference, as far as float32 tells the places apart.
    grid = one_step(torch.randn(3, 399, generator=generator), max(code, 64))
    small = numbers % 4096
    assert torch.equal(grid.numbers(grid.place(small)), small)


@given(
    code=st.integers(0, HIGHEST_CODE),
    reference=st.floats(-1e4, 1e4, width=32),
    weight=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_what_is_rounded_stays(code: int, reference: float, weight: float) -> None:
    """A file holds the numbers of rounded weights: they must give these weights again."""
    grid = one_step(torch.tensor([[reference]]), code)
    weights = torch.tensor([[weight, 0.0]])
    rounded = grid.round(weights)
    assert int(grid.numbers(weights).abs().max()) <= LARGEST
    assert torch.equal(grid.round(rounded), rounded)
    away = abs(weight - reference)
    if away < 1e6 * float(grid.steps[0, 0]):
        unit = max(abs(weight), abs(reference), away) * 2.0**-22
        assert abs(float(rounded[0, 0]) - weight) <= float(grid.steps[0, 0]) / 2 + unit


def test_a_part_is_that_of_its_networks() -> None:
    siren = networks(4)
    codes = torch.arange(24, dtype=torch.uint8).view(4, 6) + 100
    whole = Rounding.of(siren, codes, 0.5)
    part = whole.part(slice(1, 3))
    alone = Rounding.of(siren.map(lambda t: t[1:3]), codes[1:3], 0.5)
    for name in ("reference", "codes", "steps"):
        assert torch.equal(getattr(part, name), getattr(alone, name))
    assert part.pull == 0.5


def test_the_pull_goes_to_the_reference_and_no_further() -> None:
    reference = torch.zeros(1, 4)
    grid = one_step(reference, 128)  # steps of 2^-8
    grid = Rounding(grid.reference, grid.codes, grid.steps, pull=0.5)
    weights = torch.tensor([[1.0, -1.0, 2.0**-12, 0.0, 0.0]])
    pulled = grid.pulled(weights, 0.25)
    most = 2.0**-8 / 8
    assert pulled.tolist() == [[1 - most, -1 + most, 0.0, 0.0, 0.0]]
    assert torch.equal(grid.pulled(weights, torch.tensor(0.25)), pulled)


@pytest.mark.parametrize(("width", "layers", "components"), SHAPES)
def test_sensitivities_are_mean_squared_derivatives(
    width: int, layers: int, components: int
) -> None:
    siren = networks(2, width, layers, components)
    found, where = sensitivities(siren), points(3000)
    for n in range(2):
        # A network of its own for every point: then gradients are told apart.
        own = siren.map(lambda t: t[n : n + 1]).repeat(3000)  # noqa: B023
        leaves = [t.requires_grad_() for t in own.tensors]
        values = forward(own.with_tensors(leaves), where[0][:, None])
        wanted = torch.zeros(len(leaves))
        for c in range(components):
            slopes = torch.autograd.grad(values[..., c].sum(), leaves, retain_graph=True)
            squares = torch.stack([s.square().mean() for s in slopes])
            wanted += squares / components
        torch.testing.assert_close(found[n], wanted, rtol=0.1, atol=0)


@pytest.mark.parametrize("added", [1e-7, 1e-5])
@pytest.mark.parametrize(("width", "layers", "components"), SHAPES)
def test_the_chosen_steps_add_the_error_that_was_asked_for(
    width: int, layers: int, components: int, added: float
) -> None:
    siren, draws = networks(3, width, layers, components), 60
    asked = torch.tensor([added, 4 * added, added / 2])
    steps = Rounding.of(siren, choose_codes(siren, asked)).steps
    generator, where = torch.Generator().manual_seed(1), points(500)
    exact = forward(siren, where)
    found = torch.zeros(3)
    for _ in range(draws):
        noise = (torch.rand(steps.shape, generator=generator) - 0.5) * steps
        error = forward(siren.view(siren.flat() + noise), where) - exact
        found += error.square().mean(dim=(1, 2)) / draws
    # Codes are 9 % apart, and the few weights of a tensor are a small sample.
    torch.testing.assert_close(found, asked, rtol=0.25, atol=0)


def test_more_error_makes_coarser_steps() -> None:
    siren = networks(3, 12, 2, 2)
    levels = [0.0, 1e-40, 1e-12, 1e-8, 1.1e-8, 1e-4, 1.0, 1e12, float("inf")]
    codes = [choose_codes(siren, torch.full((3,), level)).int() for level in levels]
    assert all(bool((a <= b).all()) for a, b in pairwise(codes))
    assert bool((codes[0] == 0).all())
    assert bool((codes[-1] == HIGHEST_CODE).all())
    # An eighth of an octave of a step is a quarter of one in error.
    finer, coarser = (choose_codes(siren, torch.full((3,), e)).int() for e in (1e-6, 16e-6))
    assert bool((coarser - finer == 16).all())


def test_networks_are_judged_one_by_one() -> None:
    siren = networks(3, 12, 2, 1)
    asked = torch.tensor([1e-6, 1e-5, 1e-4])
    together = choose_codes(siren, asked)
    for n in range(3):
        alone = choose_codes(siren.map(lambda t: t[n : n + 1]), asked[n : n + 1])  # noqa: B023
        assert int((alone.int() - together[n : n + 1].int()).abs().max()) <= 1


def test_weights_that_do_not_matter_take_the_coarsest_step() -> None:
    siren = networks(1)
    silent = siren.with_tensors([*siren.tensors[:-2], siren.weights[-1] * 0, siren.biases[-1]])
    codes = choose_codes(silent, torch.tensor([1e-6]))[0].tolist()
    assert codes[:4] == [HIGHEST_CODE] * 4
    assert max(codes[4:]) < HIGHEST_CODE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_not_hidden(value: float) -> None:
    """Else a fit that diverged would look like one that is merely bad."""
    grid = one_step(torch.zeros(1, 3), 64)
    weights = torch.tensor([[1.0, value, 0.5, 0.0]])
    assert not bool(grid.round(weights).isfinite().all())
    assert int(grid.numbers(weights).abs().max()) <= LARGEST
