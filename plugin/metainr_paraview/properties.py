"""Properties of the filters: setters for the XML, and how they and a preset make the settings."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.grid import Grid
from metainr_core.layout import Stage, settings_with_network

PRESET = "preset"
"""What a text property holds when the preset decides; a number then holds -1."""

NETWORK = {"BrickSize": -1, "Width": -1, "HiddenLayers": -1, "Omega0": -1.0, "TargetRatio": 0.0}

Filter = TypeVar("Filter", bound=type)


def properties(**defaults: Any) -> Callable[[Filter], Filter]:
    """Class decorator: ``SetX(...)`` and ``GetX()`` for every name, with VTK's ``Modified()``.

    A value takes the type of its default; an empty tuple is a list of floats of any length.
    A file's ``~`` is the user's home. ParaView passes None for an empty text, and the elements of
    a vector as separate arguments.
    """

    def decorate(cls: Filter) -> Filter:
        known = {**getattr(cls, "property_defaults", {}), **defaults}
        cls.property_defaults = known  # type: ignore[attr-defined]
        for name, default in defaults.items():
            setattr(cls, f"Set{name}", _setter(name, default))
            setattr(cls, f"Get{name}", _getter(name))
        return cls

    return decorate


def _setter(name: str, default: Any) -> Callable[..., None]:
    def set_value(self: Any, *arguments: Any) -> None:
        value: Any = arguments[0] if len(arguments) == 1 else arguments
        if isinstance(default, tuple):
            kind = type(default[0]) if default else float
            value = tuple(kind(v) for v in (arguments if isinstance(value, kind) else value))
        else:
            value = type(default)("" if value is None else value)
            if name.endswith(("File", "FileName")):
                value = os.path.expanduser(value)
        if value != self.values[name]:
            self.values[name] = value
            self.Modified()

    return set_value


def _getter(name: str) -> Callable[[Any], Any]:
    return lambda self: self.values[name]


def property_name(field: str) -> str:
    """The property of a settings' field: ``TargetPSNR`` of ``target_psnr``."""
    return "".join(w.capitalize() for w in field.split("_")).replace("Psnr", "PSNR")


def is_set(value: Any) -> bool:
    """Whether a property has a value of its own, instead of the preset's."""
    return value not in (PRESET, -1)


def explicit(values: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Fields of a settings class whose property has a value of its own, which beats the preset."""
    names = [field.name for field in dataclasses.fields(config)]
    given = {name: values.get(property_name(name), PRESET) for name in names}
    return {name: value for name, value in given.items() if is_set(value)}


class Shape(Protocol):
    """What settings depend on of a series."""

    grid: Grid
    components: int


def settings(
    values: Mapping[str, Any], stage: type[Stage], series: Shape, base: SirenConfig | None = None
) -> Stage:
    """The settings of a stage: the preset's, except where a property has its own value.

    ``base``: the network of the prior, which also is the network of what starts from it; the
    core refuses another one. Raises SettingsError.
    """
    fields, network = explicit(values, stage), explicit(values, SirenConfig)
    # Encode has it among its fields.
    if values["TargetRatio"] and "target_ratio" not in fields:
        network["target_ratio"] = values["TargetRatio"]
    return settings_with_network(
        stage, values["Preset"], fields, network, series.grid, series.components, base
    )


def in_property_names(message: str) -> str:
    """A message of the core with ``--flags`` and ``field_names`` as ParaView shows them."""
    message = re.sub(r"--([a-z][a-z-]+)", lambda m: property_name(m[1].replace("-", "_")), message)
    fields = "|".join(
        f.name
        for stage in (PretrainConfig, EncodeConfig, SirenConfig)
        for f in dataclasses.fields(stage)
        if "_" in f.name
    )
    return re.sub(rf"\b({fields})\b", lambda m: property_name(m[1]), message)
