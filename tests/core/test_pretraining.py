"""Learning the prior: against plain implementations, interrupted, repeated, refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metainr_core import sampling
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, Cancelled, MetaINRError, PriorError
from metainr_core.layout import BrickLayout
from metainr_core.pretraining import _Rounds, pretrain
from metainr_core.prior import Prior
from metainr_core.sampling import draw_samples
from metainr_core.series import ArraySeries, Progress, no_progress
from metainr_core.siren import initialize
from metainr_core.training import random_generator

Maker = Callable[..., ArraySeries]

# What each kind of outer loop needs to make progress in a few rounds.
OUTERS: dict[str, dict[str, Any]] = {
    "reptile": {},
    "reptile with Adam": {"outer_learning_rate": 3e-3},
    "fomaml": {"outer": "fomaml", "outer_learning_rate": 5e-3},
    "maml": {
        "outer": "maml",
        "outer_learning_rate": 5e-3,
        "learning_rate": 1e-2,
        "inner_steps": 3,
        "outer_steps": 40,
    },
    "pooled": {"outer": "pooled"},
}


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


@pytest.mark.parametrize("outer", OUTERS)
@pytest.mark.parametrize("brick_size", [0, 6])
def test_a_prior_adapts_faster_than_random_weights(
    tmp_path: Path,
    make_series: Maker,
    learning: PretrainConfig,
    quick: EncodeConfig,
    monkeypatch: pytest.MonkeyPatch,
    outer: str,
    brick_size: int,
) -> None:
    monkeypatch.setattr(sampling, "TASK_VOXELS", 20)  # so that there are tasks enough
    siren = SirenConfig(16, 1, 10.0, brick_size=brick_size)
    settings = {"outer_steps": 25, "fraction": 0.3, **OUTERS[outer], "siren": siren}
    prior = pretrain(make_series(), dataclasses.replace(learning, **settings))
    assert prior.kind == ("pretrained" if outer == "pooled" else "meta")
    losses = [row["loss_after"] for row in prior.history]
    assert np.mean(losses[-3:]) < 0.9 * losses[0]
    one = dataclasses.replace(quick, epochs=1, siren=siren)
    plain = encode(make_series(), tmp_path / "r.minr", config=one, steps=[1, 3])
    kind = dataclasses.replace(one, init=prior.kind)
    meta = encode(make_series(), tmp_path / "m.minr", config=kind, prior=prior, steps=[1, 3])
    for row, other in zip(meta.records, plain.records, strict=True):
        # A brick of so few voxels sees two minibatches.
        assert row.psnr > other.psnr + (0.5 if brick_size else 3)


def test_histories_have_a_row_per_round(make_series: Maker, learning: PretrainConfig) -> None:
    seen: list[tuple[float, str]] = []
    prior = pretrain(make_series(), learning, progress=lambda f, m: seen.append((f, m)))
    assert [row["round"] for row in prior.history] == list(range(1, 9))
    seconds = [row["seconds"] for row in prior.history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert all(row["loss_after"] < row["loss_before"] for row in prior.history)
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


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


# Files


@pytest.mark.parametrize("outer", OUTERS)
@pytest.mark.parametrize("calls", [4, 7])
def test_interrupted_training_ends_as_if_it_had_not_been(
    tmp_path: Path,
    make_series: Maker,
    learning: PretrainConfig,
    stop_after: Callable[[int], Progress],
    outer: str,
    calls: int,
) -> None:
    config = dataclasses.replace(learning, **{**OUTERS[outer], "outer_steps": 6})
    whole = pretrain(make_series(), config)
    path = tmp_path / "p.safetensors"
    with pytest.raises(Cancelled):
        pretrain(make_series(), config, path, progress=stop_after(calls))
    kept = Prior.load(path)
    assert not kept.finished
    assert len(kept.history) == calls - 2
    resumed = pretrain(make_series(), config, path)
    assert resumed.digest == whole.digest
    assert [r["loss_after"] for r in resumed.history] == [r["loss_after"] for r in whole.history]
    seconds = [row["seconds"] for row in resumed.history]
    assert seconds == sorted(seconds)
    loaded = Prior.load(path)
    assert loaded.finished
    assert loaded.digest == whole.digest
    assert loaded.outer_state == {}


def test_a_cancelled_start_leaves_no_file(
    tmp_path: Path,
    make_series: Maker,
    learning: PretrainConfig,
    stop_after: Callable[[int], Progress],
) -> None:
    with pytest.raises(Cancelled):
        pretrain(make_series(), learning, tmp_path / "p.safetensors", progress=stop_after(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outer", ["reptile", "pooled"])
def test_a_finished_prior_is_not_trained_again(
    tmp_path: Path,
    make_series: Maker,
    learning: PretrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    outer: str,
) -> None:
    config = dataclasses.replace(learning, outer=outer)
    path = tmp_path / "p.safetensors"
    first = pretrain(make_series(), config, path)
    time = path.stat().st_mtime_ns

    def run(self: _Rounds) -> None:
        raise AssertionError("nothing was to be trained")

    monkeypatch.setattr(_Rounds, "run", run)
    again = pretrain(make_series(), config, path)
    assert again.digest == first.digest
    assert path.stat().st_mtime_ns == time
    # Where it is computed is no reason to compute it again.
    pretrain(make_series(), dataclasses.replace(config, device="auto"), path)
    with pytest.raises(AssertionError):
        pretrain(make_series(), dataclasses.replace(config, seed=1), path)


@pytest.mark.parametrize(
    ("settings", "series"),
    [
        ({"outer_steps": 9}, {}),
        ({"learning_rate": 1e-3}, {}),
        ({"seed": 2}, {}),
        ({"fraction": 0.3}, {}),
        ({"siren": SirenConfig(8, 1, 10.0)}, {}),
        ({}, {"phase": 0.2}),
        ({}, {"array": "pressure"}),
    ],
)
def test_other_settings_or_data_train_anew(
    tmp_path: Path,
    make_series: Maker,
    learning: PretrainConfig,
    settings: dict[str, Any],
    series: dict[str, Any],
) -> None:
    path = tmp_path / "p.safetensors"
    first = pretrain(make_series(), learning, path)
    other = pretrain(make_series(**series), dataclasses.replace(learning, **settings), path)
    assert other.fingerprint != first.fingerprint
    assert other.finished
    assert Prior.load(path).fingerprint == other.fingerprint


def test_equal_seeds_learn_equal_priors(make_series: Maker, learning: PretrainConfig) -> None:
    first, again, other = (
        pretrain(make_series(), dataclasses.replace(learning, seed=s)).digest for s in (4, 4, 5)
    )
    assert first == again
    assert first != other


def test_many_tasks_are_learned_in_turn(
    make_series: Maker, learning: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many networks are adapted at once costs memory, and changes only what is drawn."""
    siren = SirenConfig(8, 1, 10.0, brick_size=4)
    config = dataclasses.replace(
        learning,
        siren=siren,
        tasks=0,
        sampling="lattice",
        lambda_s=2,
        outer_steps=2,
        batch_size=10_000,
    )
    together = pretrain(make_series(steps=2), config)
    monkeypatch.setattr("metainr_core.pretraining._TASKS_AT_ONCE", 5)
    apart = pretrain(make_series(steps=2), config)
    assert_same_weights(apart.siren.tensors, together.siren.tensors, 1e-4)


def test_an_unwritable_place_is_known_before_the_work(
    tmp_path: Path, make_series: Maker, learning: PretrainConfig
) -> None:
    series = make_series()
    series.read = None  # type: ignore[assignment,method-assign]  # not to be read in vain
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for place in ("file/p.safetensors", "folder"):
        with pytest.raises(ArchiveError, match="choose a writable folder"):
            pretrain(series, learning, tmp_path / place)


def test_a_full_disk_is_reported(
    tmp_path: Path, make_series: Maker, learning: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveError, match="cannot be written: No space left on device"):
        pretrain(make_series(), learning, tmp_path / "p.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_prior_is_not_replaced(
    tmp_path: Path, make_series: Maker, learning: PretrainConfig
) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(b"precious notes")
    with pytest.raises(PriorError, match="damaged or no safetensors file"):
        pretrain(make_series(), learning, path)
    assert path.read_bytes() == b"precious notes"


def test_diverging_is_reported_with_the_cure(make_series: Maker, learning: PretrainConfig) -> None:
    config = dataclasses.replace(learning, optimizer="adam", learning_rate=1e25)
    with pytest.raises(MetaINRError, match=r"diverged in round 1: .*; lower learning_rate"):
        pretrain(make_series(), config)


@pytest.mark.parametrize("dims", [(12, 10, 1), (1, 1, 1), (5, 1, 9)])
@pytest.mark.parametrize("outer", OUTERS)
def test_thin_and_constant_series_can_be_learned(
    make_series: Maker, learning: PretrainConfig, dims: tuple[int, int, int], outer: str
) -> None:
    config = dataclasses.replace(learning, **{**OUTERS[outer], "outer_steps": 2})
    assert pretrain(make_series(steps=1, dims=dims), config).finished
    constant = ArraySeries([np.full(dims[::-1], 7.0, np.float32)])
    assert pretrain(constant, config).value_range.low == (7.0,)


def test_without_a_network_one_is_chosen_from_the_grid(make_series: Maker) -> None:
    config = PretrainConfig(outer_steps=1, inner_steps=1, fraction=0.05)
    prior = pretrain(make_series(steps=1), config)
    assert prior.siren_config.brick_size == 0
    assert prior.config.siren == prior.siren_config


def test_a_prior_serves_the_archive_it_came_from(
    tmp_path: Path, make_series: Maker, prior: Prior, quick: EncodeConfig
) -> None:
    meta = dataclasses.replace(quick, init="meta", siren=None)
    made = encode(make_series(), tmp_path / "run.minr", config=meta, prior=prior)
    stored = Prior.load(Archive.open(made.path).folder / "prior.safetensors")
    assert stored.metadata() == prior.metadata()


@pytest.mark.cuda
@pytest.mark.parametrize("outer", OUTERS)
def test_the_device_learns_as_the_processor(
    make_series: Maker, learning: PretrainConfig, cuda: torch.device, outer: str
) -> None:
    config = dataclasses.replace(learning, **{**OUTERS[outer], "outer_steps": 4})
    plain = pretrain(make_series(), config)
    fast = pretrain(make_series(), dataclasses.replace(config, device="cuda"))
    for row, other in zip(fast.history, plain.history, strict=True):
        assert row["loss_after"] == pytest.approx(other["loss_after"], rel=0.05)
    assert fast.siren.weights[0].device.type == "cpu"
