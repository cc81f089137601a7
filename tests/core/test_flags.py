"""Flags are the settings' fields, and explicit ones win."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from metainr_core.commands import make_parser
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.errors import SettingsError
from metainr_core.flags import (
    _PATHS,
    add_network_flags,
    add_series_flags,
    add_settings_flags,
    expand_home,
    parse_steps,
    series_from,
    settings_from,
)
from metainr_core.layout import STEP_BYTES
from metainr_core.series import ArraySeries

Maker = Callable[..., ArraySeries]

# A value other than any default, for each field.
OTHER: dict[str, Any] = {
    "sampling": "lattice",
    "outer": "pooled",
    "optimizer": "adam",
    "schedule": "constant",
    "selection": "all",
    "init": "previous",
    "device": "cpu",
    "precision": "fp32",
    "fraction": 0.015625,
    "inner_floor": 0.75,
    "weights": "float16",
    "adapt": "modulation",
    "target_ratio": 1.5,
}


def parse(stage: Any, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_network_flags(parser, stage)
    add_settings_flags(parser, stage)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("stage", [PretrainConfig, EncodeConfig])
def test_every_field_is_a_flag(make_series: Maker, stage: Any) -> None:
    series = make_series()
    for field in dataclasses.fields(stage):
        if field.name == "siren":
            continue
        value = OTHER.get(field.name, type(getattr(stage(), field.name))(7))
        assert value != field.default
        options = parse(stage, "--" + field.name.replace("_", "-"), str(value))
        config = settings_from(options, stage, series)
        assert getattr(config, field.name) == value
        assert dataclasses.replace(config, **{field.name: field.default, "siren": None}) == stage()


@pytest.mark.parametrize("stage", [PretrainConfig, EncodeConfig])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_presets_and_explicit_flags(make_series: Maker, stage: Any, preset: str) -> None:
    config = settings_from(parse(stage, "--preset", preset, "--seed", "3"), stage, make_series())
    expected = stage.preset(preset, seed=3)
    assert dataclasses.replace(config, siren=expected.siren) == expected
    if preset == "paper":
        assert config.siren == expected.siren
    else:
        assert config.siren is not None


def test_network_flags_go_before_the_base(make_series: Maker) -> None:
    flags = ("--width", "9", "--hidden-layers", "0", "--omega-0", "4.5", "--brick-size", "5")
    options = parse(EncodeConfig, "--preset", "paper", *flags)
    config = settings_from(options, EncodeConfig, make_series())
    assert config.siren == SirenConfig(9, 0, 4.5, first_scale=1.0, brick_size=5)
    base = SirenConfig(12, 1, 7.0)
    changed = settings_from(parse(EncodeConfig, "--width", "9"), EncodeConfig, make_series(), base)
    assert changed.siren == SirenConfig(9, 1, 7.0)
    kept = settings_from(parse(EncodeConfig), EncodeConfig, make_series(), base)
    assert kept.siren is None, "the prior's network needs no check"


@pytest.mark.parametrize("stage", [PretrainConfig, EncodeConfig])
def test_a_ratio_picks_the_width(make_series: Maker, stage: Any) -> None:
    options = parse(stage, "--target-ratio", "2", "--hidden-layers", "1")
    config = settings_from(options, stage, make_series())
    assert config.siren is not None
    assert STEP_BYTES + config.siren.parameters(1) * 5 / 8 <= 4 * 960 / 2
    assert getattr(config, "target_ratio", 2) == 2


@pytest.mark.parametrize("stage", [PretrainConfig, EncodeConfig])
def test_the_width_for_a_ratio_suits_how_the_preset_stores_weights(
    make_series: Maker, stage: Any
) -> None:
    flags = ("--target-ratio", "1.5", "--hidden-layers", "1", "--preset", "paper")
    config = settings_from(parse(stage, *flags), stage, make_series())
    assert config.siren is not None
    assert STEP_BYTES + config.siren.parameters(1) * 4 <= 4 * 960 / 1.5


def test_coded_weights_reach_a_ratio_in_networks_of_any_width(make_series: Maker) -> None:
    ratio = ("--target-ratio", "2")
    given = settings_from(parse(EncodeConfig, *ratio, "--width", "40"), EncodeConfig, make_series())
    assert (given.siren and given.siren.width, given.target_ratio) == (40, 2)
    prior = SirenConfig(width=40)
    learned = settings_from(parse(EncodeConfig, *ratio), EncodeConfig, make_series(), prior)
    assert (learned.siren, learned.target_ratio) == (None, 2)


def test_other_weights_need_the_width_of_the_ratio(make_series: Maker) -> None:
    flags = ("--target-ratio", "2", "--weights", "float16", "--hidden-layers", "1")
    options, series = parse(EncodeConfig, *flags), make_series()
    width = settings_from(options, EncodeConfig, series).siren.width  # type: ignore[union-attr]
    fitting = SirenConfig(width, hidden_layers=1)
    assert settings_from(options, EncodeConfig, series, fitting).siren == fitting
    with pytest.raises(SettingsError, match="with float16 weights, and the prior has"):
        settings_from(options, EncodeConfig, series, SirenConfig(width + 1, hidden_layers=1))
    with pytest.raises(SettingsError, match="give one of them"):
        settings_from(parse(EncodeConfig, *flags, "--width", "8"), EncodeConfig, series)


def test_wrong_values_reach_the_checks(make_series: Maker) -> None:
    with pytest.raises(SettingsError, match="epochs is 0"):
        settings_from(parse(EncodeConfig, "--epochs", "0"), EncodeConfig, make_series())
    with pytest.raises(SettingsError, match="fraction is 2"):
        settings_from(parse(PretrainConfig, "--fraction", "2"), PretrainConfig, make_series())


def test_series_flags_are_those_of_open_series(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def opened(*arguments: Any, **keywords: Any) -> str:
        calls.append((arguments, keywords))
        return "series"

    monkeypatch.setattr("metainr_core.flags.open_series", opened)
    parser = argparse.ArgumentParser()
    add_series_flags(parser)
    options = parser.parse_args(["run.pvd", "--array", "speed", "--ignore-nonfinite"])
    found: Any = series_from(options)
    assert found == "series"
    assert calls == [(("run.pvd", "speed"), {"ignore_nonfinite": True})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("0:10:2", [0, 2, 4, 6, 8]),
        (":", list(range(10))),
        ("7:", [7, 8, 9]),
        ("-2:", [8, 9]),
        ("::-4", [1, 5, 9]),
        ("0:99999999999999", list(range(10))),
        ("3", [3]),
        ("8,3,5,3", [3, 5, 8]),
        (" 1 , 4 : 6 ", [1, 4, 5]),
        ("12", [12]),
    ],
)
def test_steps(text: str | None, expected: list[int] | None) -> None:
    assert parse_steps(text, 10) == expected


@pytest.mark.parametrize("text", ["", "a", "1.5", "1,,2", "0:10:0", "1:2:3:4", "1-3", ","])
def test_wrong_steps_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--steps is .*; expected 0:10:2 or 3,5,8"):
        parse_steps(text, 10)


def test_steps_that_name_nothing_are_refused() -> None:
    with pytest.raises(SettingsError, match="--steps 20: names no step; there are 10"):
        parse_steps("20:", 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::2", [4, 6, 8]),
        ("0:7", [4, 5, 6]),
        ("-2:", [8, 9]),
        ("::-4", [5, 9]),
        (":", [4, 5, 6, 7, 8, 9]),
        ("3", [3]),
    ],
)
def test_steps_from_a_first_one_on(text: str, expected: list[int]) -> None:
    assert parse_steps(text, 10, 4) == expected


def test_steps_before_the_first_are_none() -> None:
    with pytest.raises(SettingsError, match="--steps 0:4 names no step; there are 6"):
        parse_steps("0:4", 10, 4)


def test_home_is_expanded_in_paths_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    options = make_parser().parse_args(
        ["encode", "~/run.pvd", "--array=~/a", "-o=~/run.minr", "--prior", "x~/~", "--json=~/r"]
    )
    expand_home(options)
    assert (options.series, options.output) == ("/home/ada/run.pvd", "/home/ada/run.minr")
    assert (options.prior, options.json, options.array) == ("x~/~", "/home/ada/r", "~/a")


def test_every_path_is_known() -> None:
    """A command with a new argument for a file says so here too."""
    texts = {"array", "steps", "member", "color", "method", "isovalue", "select"}
    parser = make_parser()
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for command in commands.choices.values():
        for action in command._actions:
            plain = action.type is None and not action.choices and action.nargs in (None, "?")
            if plain and action.dest != "help" and not isinstance(action.const, bool):
                assert action.dest in {*_PATHS, *texts}, action.dest
