"""Setters, and how the properties and a preset make the settings."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from metainr_core.config import PAPER_SIREN, EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.errors import SettingsError
from metainr_core.layout import choose_siren
from metainr_core.series import ArraySeries

pytest.importorskip("vtkmodules")
from metainr_paraview.encode import MetaINREncode
from metainr_paraview.pretrain import MetaINRPretrain
from metainr_paraview.properties import in_property_names, is_set, property_name, settings
from metainr_paraview.reader import MetaINRReader

STAGES = [(MetaINRPretrain, PretrainConfig), (MetaINREncode, EncodeConfig)]


@pytest.fixture
def series(lab: Any) -> ArraySeries:
    return ArraySeries([lab.wave(lab.grid, t) for t in lab.times], grid=lab.grid)


@pytest.mark.parametrize(("filter_class", "stage"), STAGES)
def test_defaults_are_the_default_settings(
    filter_class: Any, stage: Any, series: ArraySeries
) -> None:
    siren = choose_siren(series.grid, series.components)
    assert settings(filter_class().values, stage, series) == stage(siren=siren)


@pytest.mark.parametrize(("filter_class", "stage"), STAGES)
def test_paper_is_the_paper_preset(filter_class: Any, stage: Any, series: ArraySeries) -> None:
    values = {**filter_class().values, "Preset": "paper"}
    assert settings(values, stage, series) == stage.preset("paper")


@pytest.mark.parametrize(("filter_class", "stage"), STAGES)
def test_every_field_has_a_property(filter_class: Any, stage: Any) -> None:
    values = filter_class().values
    for field in dataclasses.fields(stage):
        assert field.name == "siren" or property_name(field.name) in values


@pytest.mark.parametrize(("filter_class", "stage"), STAGES)
def test_what_a_preset_changes_can_be_left_to_it(filter_class: Any, stage: Any) -> None:
    """A property that holds a value from the start would always beat the preset."""
    values = filter_class().values
    paper = stage.preset("paper")
    for field in dataclasses.fields(stage):
        if field.name != "siren" and getattr(paper, field.name) != getattr(stage(), field.name):
            assert not is_set(values[property_name(field.name)]), field.name


def test_an_explicit_value_beats_the_preset(series: ArraySeries) -> None:
    values = {**MetaINRPretrain().values, "Preset": "paper", "OuterSteps": 20, "Tasks": 3}
    values |= {"Outer": "fomaml", "LearningRate": 0.5, "Fraction": 0.5}
    expected = PretrainConfig.preset(
        "paper", outer_steps=20, tasks=3, outer="fomaml", learning_rate=0.5, fraction=0.5
    )
    assert settings(values, PretrainConfig, series) == expected


def test_the_network_takes_what_is_not_set_from_the_preset(series: ArraySeries) -> None:
    values = {**MetaINRPretrain().values, "Preset": "paper", "Width": 12, "BrickSize": 8}
    found = settings(values, PretrainConfig, series).siren
    assert found == dataclasses.replace(PAPER_SIREN, width=12, brick_size=8)


def test_target_ratio_picks_the_width(series: ArraySeries) -> None:
    values = {**MetaINRPretrain().values, "TargetRatio": 3.0}
    siren = settings(values, PretrainConfig, series).siren
    assert siren == choose_siren(series.grid, 1, target_ratio=3.0)
    with pytest.raises(SettingsError, match="width and target_ratio"):
        settings({**values, "Width": 8}, PretrainConfig, series)


def test_target_ratio_of_encode_limits_the_bytes_too(series: ArraySeries) -> None:
    values = {**MetaINREncode().values, "TargetRatio": 3.0}
    chosen = settings(values, EncodeConfig, series)
    siren = choose_siren(series.grid, 1, target_ratio=3.0)
    assert chosen == EncodeConfig(siren=siren, target_ratio=3.0)
    given = settings({**values, "Width": 8}, EncodeConfig, series)
    assert given == EncodeConfig(siren=SirenConfig(width=8), target_ratio=3.0)
    prior = SirenConfig(width=8, hidden_layers=1)
    assert settings(values, EncodeConfig, series, prior) == EncodeConfig(target_ratio=3.0)


def test_the_priors_network_is_used_unless_another_is_asked_for(series: ArraySeries) -> None:
    prior = SirenConfig(width=8, hidden_layers=1)
    values = {**MetaINREncode().values, "Preset": "paper"}
    assert settings(values, EncodeConfig, series, prior).siren is None
    asked = settings({**values, "HiddenLayers": 2}, EncodeConfig, series, prior).siren
    assert asked == dataclasses.replace(prior, hidden_layers=2)


@pytest.mark.parametrize("value", [0, -2])
def test_only_minus_one_means_the_preset(series: ArraySeries, value: int) -> None:
    with pytest.raises(SettingsError, match="outer_steps"):
        settings({**MetaINRPretrain().values, "OuterSteps": value}, PretrainConfig, series)


def test_setters_convert_and_tell_vtk_about_changes() -> None:
    reader = MetaINRReader()
    before = reader.GetMTime()
    reader.SetFileName(None)  # how ParaView passes an empty text
    reader.SetScale(1)
    reader.SetDimensions(0, 0, 0)
    assert reader.GetMTime() == before
    reader.SetFileName("run.minr")
    reader.SetScale(2)
    reader.SetDimensions(4, 5, 6)
    assert reader.GetMTime() > before
    assert reader.GetFileName() == "run.minr"
    assert isinstance(reader.GetScale(), float)
    assert reader.GetDimensions() == (4, 5, 6)
    reader.SetDimensions([7.0, 8.0, 9.0])
    assert reader.GetDimensions() == (7, 8, 9)
    assert MetaINRReader().GetDimensions() == (0, 0, 0), "instances share no values"


def test_messages_speak_of_properties() -> None:
    message = "outer_steps is 0; target_psnr; pass --ignore-nonfinite (--overwrite) in my_file"
    expected = "OuterSteps is 0; TargetPSNR; pass IgnoreNonfinite (Overwrite) in my_file"
    assert in_property_names(message) == expected
    assert in_property_names("target_ratio, max_error") == "TargetRatio, MaxError"


def test_a_files_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    reader, encode = MetaINRReader(), MetaINREncode()
    reader.SetFileName("~/run.minr")
    encode.SetArchiveFile("~/a.minr")
    encode.SetPriorFile("a~/~")
    reader.SetMember("~")
    assert (reader.GetFileName(), reader.GetMember()) == ("/home/ada/run.minr", "~")
    assert (encode.GetArchiveFile(), encode.GetPriorFile()) == ("/home/ada/a.minr", "a~/~")
