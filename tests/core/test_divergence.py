"""Fits and pretraining that go wrong: tried again, told, and never stored as good."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.divergence import came_to_nothing, constant_error, has_diverged
from metainr_core.encoding import encode
from metainr_core.errors import MetaINRError, MetaINRWarning, SettingsError
from metainr_core.metrics import Errors
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries
from metainr_core.verify import verify

Maker = Callable[..., ArraySeries]


def noise(
    steps: int = 1, dims: tuple[int, int, int] = (12, 10, 8), components: int = 1
) -> ArraySeries:
    random = np.random.default_rng(5)
    shape = (*dims[::-1], components)
    return ArraySeries([random.normal(size=shape).astype(np.float32) for _ in range(steps)])


def test_the_error_of_a_constant() -> None:
    values = noise(components=2).read(0) * np.array([1, 20], np.float32) + 3
    assert constant_error(values) == pytest.approx(values.var((0, 1, 2), np.float64).mean())
    assert constant_error(np.full((2, 3, 4, 1), 1e38, np.float32)) == 0


def test_what_counts_as_diverged() -> None:
    assert has_diverged(math.nan, 1.0, 1.0)
    assert has_diverged(math.inf, 1.0, math.nan)
    assert has_diverged(1.3, 1.0, 1.0)
    assert not has_diverged(1.01, 1.0, 0.5)
    # Better than what it started from: too few passes, not too high a rate.
    assert not has_diverged(1.3, 1.0, 2.0)
    assert has_diverged(1.3, 1.0, math.nan)
    assert came_to_nothing(0.97, 1.0)
    assert came_to_nothing(math.nan, 1.0)
    assert not came_to_nothing(0.9, 1.0)


@pytest.mark.parametrize("weights", ["coded", "float32"])
def test_a_fit_that_diverges_is_made_again_at_a_lower_rate(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, weights: str
) -> None:
    series, path = make_series(steps=2), tmp_path / "run.minr"
    config = dataclasses.replace(
        quick, optimizer="adam", learning_rate=0.1, epochs=8, weights=weights
    )
    with pytest.warns(MetaINRWarning) as seen:
        archive = encode(series, path, config=config)
    (warning,) = seen
    what = "the fit of steps 0, 1 diverged and was made again at learning_rate 0.025"
    assert str(warning.message) == what
    for record in archive.records:
        assert record.mean_squared_error < 0.05 * constant_error(series.read(record.step))
        assert record.epochs == 8
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert not verify(path, series, device="cpu").findings
    # The same again is done, not fitted again; and in another place it is the same.
    encode(series, path, config=config, progress=lambda f, m: None)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    with pytest.warns(MetaINRWarning, match="diverged"):
        other = encode(series, tmp_path / "other.minr", config=config)
    for step in archive.steps:
        assert torch.equal(archive.load_step(step).flat(), other.load_step(step).flat())


@pytest.mark.parametrize(("rate", "weights"), [(1e3, "float32"), (1e25, "coded")])
@pytest.mark.parametrize("bound", [0.0, 0.05])
def test_what_diverges_at_every_rate_is_not_stored(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, rate: float, weights: str, bound: float
) -> None:
    path = tmp_path / "run.minr"
    good = encode(make_series(), path, config=quick, steps=[0])
    before = good.record(0)
    wild = dataclasses.replace(quick, learning_rate=rate, optimizer="adam")
    config = dataclasses.replace(wild, weights=weights, max_error=bound)
    with pytest.raises(SettingsError) as error:
        encode(make_series(), path, config=config, steps=[1, 2])
    text = str(error.value)
    assert text.startswith("step 1 of the arrays: the fit diverged")
    assert f"lower learning_rate (tried {rate:g}, {rate / 4:g}, {rate / 16:g})" in text
    after = Archive.open(path)
    assert (after.steps, after.record(0)) == ([0], before)


def test_one_bad_brick_spoils_the_step(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that became NaN is noticed, however many others did not."""
    from metainr_core.fitting import Fitting

    fit, calls = Fitting.fit, []

    def broken(self: Fitting, *arguments: object) -> object:
        found = fit(self, *arguments)  # type: ignore[arg-type]
        calls.append(self.config.learning_rate)
        if len(calls) == 1:
            found.siren.biases[-1][3] = math.nan
        return found

    monkeypatch.setattr(Fitting, "fit", broken)
    siren = SirenConfig(8, 1, 8.0, brick_size=6)
    config = dataclasses.replace(quick, siren=siren, weights="float32", epochs=16)
    with pytest.warns(MetaINRWarning, match="step 0 diverged .* at learning_rate 0.00075"):
        archive = encode(make_series(steps=1), tmp_path / "run.minr", config=config)
    assert calls == [quick.learning_rate, quick.learning_rate / 4]
    assert np.isfinite(archive.decode(0)).all()


def test_noise_at_a_high_ratio_is_as_good_as_its_mean(tmp_path: Path, quick: EncodeConfig) -> None:
    """Nothing can be learned, and nothing has gone wrong."""
    series = noise(steps=2, dims=(32, 32, 32))
    config = dataclasses.replace(quick, init="previous", target_ratio=60.0)
    with pytest.warns(MetaINRWarning, match="steps 0, 1 are no better than their mean value"):
        archive = encode(series, tmp_path / "run.minr", config=config)
    for record in archive.records:
        share = record.mean_squared_error / constant_error(series.read(record.step))
        assert 0.8 < share < 1.02


@pytest.mark.parametrize("dims", [(1, 1, 1), (2, 2, 2), (1, 1, 7), (3, 2, 1)])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_few_values_are_not_refused(
    tmp_path: Path, dims: tuple[int, int, int], preset: str
) -> None:
    series = noise(steps=2, dims=dims)
    siren = SirenConfig(16, 1, 30.0)
    config = EncodeConfig.preset(preset, siren=siren, init="random", device="cpu", epochs=1)
    archive = encode(series, tmp_path / "run.minr", config=config)
    assert archive.steps == [0, 1]


def test_too_little_training_is_told(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    values = [np.exp(4 * make_series(steps=1).read(0))]  # most of it far from the range's centre
    config = dataclasses.replace(quick, epochs=1, learning_rate=1e-9)
    path = tmp_path / "run.minr"
    with pytest.warns(MetaINRWarning) as seen:
        archive = encode(ArraySeries(values), path, config=config)
    (warning,) = seen
    assert "step 0 is no better than its mean value" in str(warning.message)
    assert archive.record(0).mean_squared_error > constant_error(values[0])


def test_a_bad_prior_is_told_not_refused(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    flat = prior.siren.map(torch.clone)
    flat.biases[-1].fill_(3.0)  # far outside of the range
    bad = dataclasses.replace(prior, siren=flat)
    config = dataclasses.replace(quick, init="meta", siren=None, epochs=1, learning_rate=1e-5)
    with pytest.warns(MetaINRWarning, match="no better than"):
        archive = encode(make_series(steps=1), tmp_path / "run.minr", prior=bad, config=config)
    errors = Errors.between(make_series(steps=1).read(0), archive.decode(0, device="cpu"))
    assert archive.record(0).mean_squared_error == errors.mean_squared


# Pretraining


@pytest.mark.parametrize("outer", ["reptile", "fomaml", "maml", "pooled"])
def test_pretraining_that_diverges_keeps_what_was_there(
    tmp_path: Path, make_series: Maker, learning: PretrainConfig, outer: str
) -> None:
    path = tmp_path / "prior.safetensors"
    pretrain(make_series(), learning, path)
    before = path.read_bytes()
    rate = 0.01 if outer in ("fomaml", "maml") else 0.0
    wild = dataclasses.replace(
        learning, outer=outer, outer_learning_rate=rate, learning_rate=1e30, optimizer="adam"
    )
    with pytest.raises(MetaINRError, match=r"pretraining diverged in round \d+: .*; lower lea"):
        pretrain(make_series(), wild, path)
    assert path.read_bytes() == before


def test_weights_that_are_no_numbers_are_no_prior(
    make_series: Maker, learning: PretrainConfig
) -> None:
    """The outer step comes after the last loss of a round."""
    config = dataclasses.replace(learning, outer_steps=1, outer_learning_rate=1e30)
    with pytest.raises(MetaINRError, match=r"round 1: .*outer_learning_rate \(1e\+30\)"):
        pretrain(make_series(), config)


def test_a_prior_worse_than_random_weights_is_not_written(
    tmp_path: Path, make_series: Maker, learning: PretrainConfig
) -> None:
    path = tmp_path / "prior.safetensors"
    config = dataclasses.replace(learning, optimizer="adam", learning_rate=30.0)
    with pytest.raises(MetaINRError, match=r"in round 8: the loss is .*, and random weights"):
        pretrain(make_series(), config, path)
    assert not path.exists()
