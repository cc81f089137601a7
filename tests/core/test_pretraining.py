"""Learning the prior: what it is worth, interrupted, repeated, refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metainr_core import pretraining, sampling
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, Cancelled, MetaINRError, PriorError
from metainr_core.pretraining import _Rounds, pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries, Progress

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
    # Two minibatches leave no time to mind the rounding of coded weights.
    one = dataclasses.replace(quick, epochs=1, siren=siren, weights="float32")
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


def test_a_killed_training_loses_seconds(
    tmp_path: Path,
    make_series: Maker,
    learning: PretrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing can be saved when the process dies, so it is saved before."""
    monkeypatch.setattr(pretraining, "_SAVE_EVERY", 0.0)
    path = tmp_path / "p.safetensors"
    saved: list[int] = []

    def die(_fraction: float, message: str) -> None:
        if path.exists():
            saved.append(len(Prior.load(path).history))
        if len(saved) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(make_series(), learning, path, progress=die)
    assert saved == [1, 2]
    assert (
        pretrain(make_series(), learning, path).digest == pretrain(make_series(), learning).digest
    )


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
    for a, b in zip(apart.siren.tensors, together.siren.tensors, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_equal_seeds_learn_equal_priors(make_series: Maker, learning: PretrainConfig) -> None:
    first, again, other = (
        pretrain(make_series(), dataclasses.replace(learning, seed=s)).digest for s in (4, 4, 5)
    )
    assert first == again
    assert first != other


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


# Unusual input


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
    for weights, wanted in (("float32", prior), ("coded", prior.rounded())):
        meta = dataclasses.replace(quick, init="meta", siren=None, weights=weights)
        made = encode(make_series(), tmp_path / f"{weights}.minr", config=meta, prior=prior)
        stored = Prior.load(Archive.open(made.path).folder / "prior.safetensors")
        assert stored.metadata() == {**wanted.metadata(), "weights": "float32"}
        assert stored.digest == wanted.digest


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
