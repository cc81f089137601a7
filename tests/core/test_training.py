"""Minibatch descent, in the fused library and in PyTorch."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor

from metainr_core import fused
from metainr_core.config import SirenConfig
from metainr_core.fused import build
from metainr_core.optim import Descent
from metainr_core.rounding import Rounding
from metainr_core.sampling import coordinates
from metainr_core.siren import Siren, initialize, mean_squared_errors
from metainr_core.training import Samples, State, Trainer, random_generator

BOX = (4, 5, 6)


@pytest.fixture(params=["fused", "torch"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in both."""
    if request.param == "torch":
        monkeypatch.setattr(fused, "serves", lambda *_: False)
    elif build.library() is None:
        pytest.skip("no C++ compiler")


def networks(count: int, width: int = 8) -> Siren:
    return initialize(SirenConfig(width, 2, 10.0), count, 1, torch.Generator().manual_seed(0))


def samples(count: int, *, points: bool) -> Samples:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(count, 120, 1, generator=generator)
    voxels = torch.stack([torch.randperm(120, generator=generator) for _ in range(count)])
    return Samples(values, BOX, voxels.to(torch.int32) if points else None)


def minibatches(rows: int, steps: int, size: int = 50) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(120, (rows, steps, size), generator=generator).to(torch.int32)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("points", [False, True])
def test_a_minibatch_is_made_of_its_samples(rows: int, points: bool) -> None:
    many = samples(3, points=points)
    index = minibatches(rows, 1)[:, 0]
    where, values = many.minibatch(index)
    for n in range(3):
        row = index[n % rows].long()
        voxels = row if many.points is None else many.points[n, row].long()
        assert torch.equal(where[n % len(where)], coordinates(voxels, BOX))
        assert torch.equal(values[n], many.values[n, row])


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_networks_of_a_batch_do_not_touch_each_other(optimizer: str, points: bool) -> None:
    siren, many, index = networks(3), samples(3, points=points), minibatches(3, 5)
    together = Trainer(siren, many, optimizer, torch.float32)
    losses = together.run(index, [1e-3] * 5)
    assert losses.shape == (5, 3)
    for n in range(3):
        own = slice(n, n + 1)
        part = Samples(many.values[own], BOX, None if many.points is None else many.points[own])
        alone = Trainer(siren.map(lambda t: t[own]), part, optimizer, torch.float32)  # noqa: B023
        loss = alone.run(index[own], [1e-3] * 5)
        torch.testing.assert_close(losses[:, own], loss, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(together.weights[own], alone.weights, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_descent_descends(optimizer: str, dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not fused.serves(torch.device("cpu"), dtype):
        dtype = torch.bfloat16  # PyTorch has it on every processor
    voxels = torch.arange(120)
    where = coordinates(voxels, BOX)[None]
    values = torch.sin(2 * where.sum(2, keepdim=True)).repeat(2, 1, 1)
    trainer = Trainer(networks(2, 16), Samples(values, BOX), optimizer, dtype)
    before = mean_squared_errors(trainer.siren, where, values)
    losses = trainer.run(voxels.repeat(1, 60, 1), [3e-3] * 60)
    # The loss returned is that before the step, and the weights are updated in place.
    torch.testing.assert_close(losses[0], before, rtol=2e-2, atol=1e-3)
    assert bool((losses[-1] < 0.1 * losses[0]).all())
    assert bool((mean_squared_errors(trainer.siren, where, values) < 0.2 * losses[0]).all())


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_run_can_be_cut_anywhere(optimizer: str) -> None:
    index, many = minibatches(1, 7), samples(2, points=False)
    rates = [1e-3 * (7 - i) for i in range(7)]
    whole = Trainer(networks(2), many, optimizer, torch.float32)
    losses = whole.run(index, rates)
    parts = Trainer(networks(2), many, optimizer, torch.float32)
    for first, last in ((0, 1), (1, 5), (5, 7)):
        loss = parts.run(index[:, first:last], rates[first:last])
        assert torch.equal(loss, losses[first:last])
    assert torch.equal(whole.weights, parts.weights)


def test_the_networks_given_stay_as_they_are() -> None:
    siren = networks(2)
    before = siren.flat()
    trainer = Trainer(siren, samples(2, points=True), "muon", torch.float32)
    trainer.run(minibatches(2, 3), [1e-3] * 3)
    assert torch.equal(siren.flat(), before)
    assert not torch.equal(trainer.siren.flat(), before)


def test_a_restart_is_a_new_trainer() -> None:
    first, second = samples(2, points=True), samples(2, points=True)
    second.values.mul_(-1)
    index = minibatches(2, 4)
    used = Trainer(networks(2), first, "muon", torch.float32)
    used.run(index, [1e-3] * 4)
    used.restart(networks(2), second)
    new = Trainer(networks(2), second, "muon", torch.float32)
    assert torch.equal(used.run(index, [1e-3] * 4), new.run(index, [1e-3] * 4))
    assert torch.equal(used.weights, new.weights)


def test_a_trainer_goes_when_nobody_needs_it() -> None:
    """Without waiting for the search for cycles: a GPU's memory hangs on it."""
    trainer = Trainer(networks(2), samples(2, points=True), "muon", torch.float32)
    trainer.run(minibatches(2, 3), [1e-3] * 3)
    remains = weakref.ref(trainer)
    gc.disable()
    try:
        del trainer
        assert remains() is None
    finally:
        gc.enable()


def test_minibatches_of_two_sizes_take_turns() -> None:
    many, long, short = samples(2, points=False), minibatches(1, 4), minibatches(1, 1, 20)
    losses = []
    for _ in range(2):
        trainer = Trainer(networks(2), many, "muon", torch.float32)
        turns = [trainer.run(part, [1e-3] * part.shape[1]) for part in (long, short, long, short)]
        losses.append(torch.cat(turns))
    assert torch.equal(losses[0], losses[1])
    assert float(losses[0][-1].mean()) < float(losses[0][0].mean())


# Rounded weights


def grid(siren: Siren, pull: float = 0.0) -> Rounding:
    """Steps of 2^-9 to 2^-5, away from a reference that is near the weights."""
    count = len(siren.tensors)
    codes = torch.arange(siren.networks * count, dtype=torch.uint8).view(-1, count) % 5 * 8 + 120
    return Rounding.of(siren.map(lambda t: 0.9 * t + 0.01), codes, pull)


@pytest.mark.parametrize("points", [False, True])
def test_gradients_are_those_at_the_rounded_weights(points: bool) -> None:
    siren, many, index = networks(3), samples(3, points=points), minibatches(3, 1)
    rounding = grid(siren)
    trainer = Trainer(siren, many, "adam", torch.float32)
    trainer.round_to(rounding)
    losses = trainer.run(index, [1e-3])
    where, values = many.minibatch(index[:, 0])
    leaves = [t.requires_grad_() for t in siren.view(rounding.round(siren.flat())).tensors]
    wanted = mean_squared_errors(siren.with_tensors(leaves), where, values)
    torch.testing.assert_close(losses[0], wanted.detach(), rtol=1e-5, atol=1e-7)
    slopes = torch.cat([g.flatten(1) for g in torch.autograd.grad(wanted.sum(), leaves)], 1)
    largest = float(slopes.abs().max())
    # Adam's first moment takes in a tenth of the gradient.
    torch.testing.assert_close(10 * trainer.descent.first, slopes, rtol=1e-3, atol=1e-5 * largest)
    # The step goes from the free weights, which stay free.
    moved = trainer.weights - siren.flat()
    assert float(moved.abs().max()) == pytest.approx(1e-3, rel=1e-2)
    assert not torch.equal(rounding.round(trainer.weights), trainer.weights)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_the_pull_follows_the_step(optimizer: str) -> None:
    siren, many, index = networks(2), samples(2, points=False), minibatches(1, 1)
    results = []
    for pull in (0.0, 30.0):
        trainer = Trainer(siren, many, optimizer, torch.float32)
        trainer.round_to(grid(siren, pull))
        trainer.run(index, [1e-2])
        results.append(trainer.weights)
    wanted = grid(siren, 30.0).pulled(results[0], Descent.RATIO * 1e-2)
    assert not torch.equal(wanted, results[0])
    torch.testing.assert_close(results[1], wanted, rtol=1e-6, atol=1e-7)


def test_rounding_can_begin_and_end_in_the_middle() -> None:
    siren, many, index = networks(2), samples(2, points=False), minibatches(1, 6)
    plain, changing = (Trainer(siren, many, "muon", torch.float32) for _ in range(2))
    losses = plain.run(index, [1e-3] * 6)
    first = changing.run(index[:, :2], [1e-3] * 2)
    changing.round_to(grid(siren))
    second = changing.run(index[:, 2:4], [1e-3] * 2)
    changing.round_to(None)
    assert torch.equal(first, losses[:2])
    assert bool((second[0] != losses[2]).all())
    held = changing.weights.clone()
    third = changing.run(index[:, 4:5], [1e-3])
    where, values = many.minibatch(index[:, 4])
    expected = mean_squared_errors(siren.view(held), where, values)
    torch.testing.assert_close(third[0], expected, rtol=1e-5, atol=1e-7)


def test_generators_are_told_apart_by_every_seed() -> None:
    def draw(*seeds: int) -> float:
        return float(torch.rand(1, generator=random_generator(*seeds), dtype=torch.float64))

    assert draw(1, 2) == draw(1, 2)
    tuples = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (2**31 - 1, 5, 7)]
    assert len({draw(*t) for t in tuples}) == len(tuples)


# Work in legs


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("hidden", [False, True])
def test_another_trainer_goes_on_to_the_bit(optimizer: str, rounded: bool, hidden: bool) -> None:
    index, many = minibatches(1, 9), samples(2, points=False)
    rates = [1e-3 * (9 - i) for i in range(9)]
    rounding = grid(networks(2), 3.0) if rounded else None

    def make(siren: Siren) -> Trainer:
        trainer = Trainer(siren, many, optimizer, torch.float32, 0.5, hidden)
        trainer.round_to(rounding)
        return trainer

    whole = make(networks(2))
    losses = whole.run(index, rates)
    first = make(networks(2))
    assert torch.equal(first.run(index[:, :4], rates[:4]), losses[:4])
    state = first.state
    assert state.taken == 4
    held = [t.clone() for t in state[:3]]
    # Whatever it was before, and had done.
    second = make(networks(2).map(lambda t: -2 * t))
    second.run(index[:, 7:], rates[7:])
    second.resume(state)
    assert torch.equal(second.run(index[:, 4:], rates[4:]), losses[4:])
    for mine, wanted in zip(second.state, whole.state, strict=True):
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(wanted))
    # A copy: the first leg can be gone on from once more.
    assert all(map(torch.equal, first.state[:3], held))


def test_states_are_cut_and_joined() -> None:
    many, index = samples(3, points=True), minibatches(3, 4)
    trainer = Trainer(networks(3), many, "muon", torch.float32)
    trainer.run(index, [1e-3] * 4)
    state = trainer.state
    joined = State.concatenate([state.part(slice(0, 1)), state.part(slice(1, 3))])
    assert joined.taken == state.taken == 4
    assert all(map(torch.equal, joined[:3], state[:3]))
    assert state.part(slice(1, 3)).first.shape == (2, state.weights.shape[1])


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hidden_matrices_can_be_left_alone(optimizer: str, dtype: torch.dtype) -> None:
    """Whatever Muon's weight decay; everything else moves, and the loss falls."""
    voxels = torch.arange(120)
    where = coordinates(voxels, BOX)[None]
    values = torch.sin(2 * where.sum(2, keepdim=True)).repeat(2, 1, 1)
    siren = networks(2, 16)
    trainer = Trainer(siren, Samples(values, BOX), optimizer, dtype, 1.0, hidden=False)
    losses = trainer.run(voxels.repeat(1, 40, 1).int(), [3e-3] * 40)
    for layer, (weight, bias) in enumerate(
        zip(trainer.siren.weights, trainer.siren.biases, strict=True)
    ):
        assert torch.equal(weight, siren.weights[layer]) is (layer in (1, 2))
        assert not torch.equal(bias, siren.biases[layer])
    assert bool((losses[-1] < 0.3 * losses[0]).all())
