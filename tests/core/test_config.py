"""Settings: presets, checks, round trips."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.errors import SettingsError
from metainr_core.siren import initialize


@pytest.mark.parametrize(
    ("kind", "changes", "name"),
    [
        (SirenConfig, {"width": 0}, "width"),
        (SirenConfig, {"width": 1.5}, "width"),
        (SirenConfig, {"width": "64"}, "width"),
        (SirenConfig, {"width": True}, "width"),
        (SirenConfig, {"hidden_layers": -1}, "hidden_layers"),
        (SirenConfig, {"omega_0": 0.0}, "omega_0"),
        (SirenConfig, {"omega_0": float("nan")}, "omega_0"),
        (SirenConfig, {"omega_0": "30"}, "omega_0"),
        (SirenConfig, {"first_scale": float("inf")}, "first_scale"),
        (SirenConfig, {"brick_size": 3}, "brick_size"),
        (SirenConfig, {"brick_size": -1}, "brick_size"),
        (PretrainConfig, {"sampling": "all"}, "sampling"),
        (PretrainConfig, {"sampling": 1}, "sampling"),
        (PretrainConfig, {"outer": "sgd"}, "outer"),
        (PretrainConfig, {"lambda_s": 0}, "lambda_s"),
        (PretrainConfig, {"lambda_t": 0}, "lambda_t"),
        (PretrainConfig, {"tasks": -1}, "tasks"),
        (PretrainConfig, {"fraction": 1.1}, "fraction"),
        (PretrainConfig, {"fraction": 0.0}, "fraction"),
        (PretrainConfig, {"fraction": float("nan")}, "fraction"),
        (PretrainConfig, {"learning_rate": -1e-3}, "learning_rate"),
        (PretrainConfig, {"inner_floor": 2.0}, "inner_floor"),
        (PretrainConfig, {"outer_learning_rate": -1.0}, "outer_learning_rate"),
        (PretrainConfig, {"outer": "maml"}, "outer_learning_rate"),
        (PretrainConfig, {"outer": "fomaml"}, "outer_learning_rate"),
        (PretrainConfig, {"seed": -1}, "seed"),
        (PretrainConfig, {"seed": 2**31}, "seed"),
        (EncodeConfig, {"epochs": 0}, "epochs"),
        (EncodeConfig, {"epochs": 2.0}, "epochs"),
        (EncodeConfig, {"batch_size": -1}, "batch_size"),
        (EncodeConfig, {"init": "zero"}, "init"),
        (EncodeConfig, {"schedule": "linear"}, "schedule"),
        (EncodeConfig, {"target_psnr": float("inf")}, "target_psnr"),
        (EncodeConfig, {"key_interval": 0}, "key_interval"),
        (EncodeConfig, {"optimizer": "sgd"}, "optimizer"),
        (EncodeConfig, {"device": "tpu"}, "device"),
        (EncodeConfig, {"precision": "fp16"}, "precision"),
    ],
)
def test_a_wrong_value_is_named(kind: Any, changes: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is .*; expected ") as error:
        kind(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [PretrainConfig, EncodeConfig])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_settings_survive_json(kind: Any, preset: str) -> None:
    config = kind.preset(preset, seed=3, siren=SirenConfig(width=8, omega_0=12.5))
    assert kind.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_numbers_of_numpy_become_plain_ones() -> None:
    config = SirenConfig(width=np.int64(8), omega_0=np.float32(2))  # type: ignore[arg-type]
    assert config == SirenConfig(width=8, omega_0=2.0)
    assert json.loads(json.dumps(config.to_json()))["width"] == 8
    assert type(SirenConfig(omega_0=30).omega_0) is float


def test_unknown_and_unreadable_fields_are_refused() -> None:
    with pytest.raises(SettingsError, match="unknown SirenConfig field 'depth'"):
        SirenConfig.from_json({"depth": 3})
    with pytest.raises(SettingsError, match="width"):
        PretrainConfig.from_json({"siren": {"width": None}})
    with pytest.raises(SettingsError, match="preset is 'best'; expected one of default, paper"):
        EncodeConfig.preset("best")


def test_the_paper_preset_is_the_published_experiment() -> None:
    learn = PretrainConfig.preset("paper")
    assert learn.siren == SirenConfig(256, 5, 30.0, first_scale=1.0, brick_size=0)
    assert (learn.sampling, learn.lambda_s, learn.lambda_t) == ("lattice", 4, 2)
    assert (learn.outer, learn.outer_steps, learn.inner_steps) == ("reptile", 500, 16)
    assert (learn.optimizer, learn.batch_size, learn.tasks) == ("adam", 50_000, 0)
    assert learn.learning_rate == learn.outer_learning_rate == 1e-4
    assert learn.inner_floor == 1.0
    fit = EncodeConfig.preset("paper")
    assert (fit.epochs, fit.batch_size, fit.optimizer) == (16, 50_000, "adam")
    assert (fit.learning_rate, fit.schedule, fit.init) == (1e-5, "constant", "meta")
    assert fit.siren == learn.siren


def test_explicit_settings_go_before_the_preset() -> None:
    assert EncodeConfig.preset("paper", epochs=3).epochs == 3


@pytest.mark.parametrize("layers", [0, 1, 4])
@pytest.mark.parametrize("components", [1, 3])
def test_parameters_are_counted_as_they_are(layers: int, components: int) -> None:
    config = SirenConfig(width=7, hidden_layers=layers)
    siren = initialize(config, 2, components, torch.Generator())
    assert 2 * config.parameters(components) == sum(t.numel() for t in siren.tensors)
    assert siren.bytes == 2 * 4 * config.parameters(components)


def test_what_is_left_open_suits_the_networks() -> None:
    one, many = EncodeConfig().resolved(1, 64), EncodeConfig().resolved(64, 20)
    assert one.batch_size > many.batch_size > 0
    assert EncodeConfig().resolved(1, 256).batch_size > one.batch_size
    warm = EncodeConfig().resolved(1, 64, warm=True)
    assert 0 < warm.learning_rate < one.learning_rate < many.learning_rate
    asked = EncodeConfig(batch_size=7, learning_rate=0.5)
    assert asked.resolved(1, 64) == asked.resolved(64, 20, warm=True) == asked
    assert one.resolved(64, 20, warm=True) == one
