"""What an archive says of all its steps, and of each."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .config import WEIGHTS, SirenConfig
from .grid import Grid
from .hashing import fingerprint
from .metrics import psnr
from .series import Range

_KINDS: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "tuple[float, ...]": tuple}

# VTK's extents are 32-bit numbers; of passes and bytes.
_MOST_INDEX, _MOST_COUNT = 2**31 - 1, 2**53
_FAR = 1e100
_LARGEST = float(np.finfo(np.float32).max)
REFERENCES = ("none", "prior", "previous")


@dataclass(frozen=True)
class Header:
    """What all steps of an archive share.

    ``value_range`` is mapped to the networks' [-1, 1].
    """

    array: str
    components: int
    grid: Grid
    siren: SirenConfig
    value_range: Range

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Header:
        """Raises MetaINRError or one of ``errors.DAMAGE`` when ``data`` is no header."""
        components = int(data["components"])
        header = cls(
            array=check_name(str(data["array"])),
            components=components,
            grid=Grid.from_json(data["grid"]),
            siren=SirenConfig.from_json(data["siren"]),
            value_range=float32_range(data["value_range"], components),
        )
        grid = header.grid
        if components < 1 or max(*grid.dims, *map(abs, grid.start)) > _MOST_INDEX:
            raise ValueError(f"{components} components on {grid.dims} values from {grid.start}")
        lengths = np.abs([*grid.spacing, *grid.origin, *grid.direction])
        if lengths.max() > _FAR or lengths[:3].min() < 1 / _FAR:
            raise ValueError(f"the grid has spacing {grid.spacing} and origin {grid.origin}")
        return header

    @property
    def identity(self) -> str:
        return fingerprint(self.to_json())


@dataclass(frozen=True)
class StepRecord:
    """Figures of one encoded step; errors are those of what ``decode`` returns.

    ``psnr``: over the step's own range; ``psnr_series``: over the range of the whole series (dB).
    ``max_error``: in the data's units. ``seconds``: of the fit loop. ``bytes``: of the step's
    file; ``ratio``: float32 bytes of the volume over them. ``epochs``: passes spent. ``data``:
    fingerprint of the step's time and values, ``settings``: of all that the weights depend on.
    ``precision``: ``fp32`` or ``bf16``, of the products in ``decode`` that the errors are those of.
    ``weights``: how the file holds them (``config.WEIGHTS``); ``reference``: what coded ones are
    differences to: ``none``, the archive's ``prior`` or the weights of the ``previous`` step.
    ``bound``: guaranteed largest error of ``decode`` at the original voxels, 0 for none.
    """

    step: int
    time: float
    psnr: float
    psnr_series: float
    max_error: float
    seconds: float
    epochs: int
    mean_squared_error: float
    value_low: tuple[float, ...]
    value_high: tuple[float, ...]
    data: str
    settings: str
    precision: str = "fp32"
    weights: str = "float32"
    reference: str = "none"
    bound: float = 0.0
    bytes: int = 0
    ratio: float = 0.0
    sha256: str = ""

    @property
    def value_range(self) -> Range:
        return Range(tuple(self.value_low), tuple(self.value_high))

    def to_json(self) -> dict[str, Any]:
        """The fields. JSON has no infinity: a PSNR without error, or over no range, is null."""
        data = asdict(self)
        for name in ("psnr", "psnr_series"):
            data[name] = data[name] if math.isfinite(data[name]) else None
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepRecord:
        """Raises one of ``errors.DAMAGE`` when ``data`` is no record."""
        low, high = data["value_low"], data["value_high"]
        value_range = float32_range({"low": low, "high": high}, len(low))
        value = psnr(data["mean_squared_error"], value_range.width)
        known: dict[str, Any] = {"psnr": value, "psnr_series": value}
        known |= {"value_low": value_range.low, "value_high": value_range.high}
        record = cls(**{**data, **known})
        for field in dataclasses.fields(cls):
            found = getattr(record, field.name)
            good = isinstance(found, _KINDS[str(field.type)]) and not isinstance(found, bool)
            if good and field.type == "float" and field.name not in known:
                good = math.isfinite(found)
            if good and field.type == "int":
                good = 0 <= found <= (_MOST_INDEX if field.name == "step" else _MOST_COUNT)
            if not good:
                raise ValueError(f"{field.name} is {found!r}")
        for name, choices in (("weights", WEIGHTS), ("reference", REFERENCES)):
            if getattr(record, name) not in choices:
                raise ValueError(f"{name} is {getattr(record, name)!r}")
        return record


def float32_range(data: Mapping[str, Any], components: int) -> Range:
    """Raises one of ``errors.DAMAGE`` when ``data`` is no range of float32 values."""
    found = Range.from_json(data, components)
    if not -_LARGEST <= min(found.low) <= max(found.high) <= _LARGEST:
        raise ValueError(f"{found.low} to {found.high} are no float32 values")
    return found


def check_name(name: str) -> str:
    """The name; raises ValueError where nothing in VTK could have it."""
    if "\0" in name:
        raise ValueError(f"the name {name!r:.80} has a zero byte")
    name.encode()  # no half of a character
    return name


def of_one_fit(known: StepRecord, record: StepRecord) -> bool:
    """Whether an index's record describes the file that has this record in its header."""
    names = ("bytes", "ratio", "sha256", "psnr_series")
    return {**asdict(known), **dict.fromkeys(names)} == {**asdict(record), **dict.fromkeys(names)}


def over_range(record: StepRecord, width: float) -> StepRecord:
    """The record with its PSNR over the series' range, which only the archive knows."""
    return dataclasses.replace(record, psnr_series=psnr(record.mean_squared_error, width))


def with_data(record: StepRecord, data: bytes | bytearray, header: Header) -> StepRecord:
    """The record with the figures of a file that holds ``data``: size, compression ratio, sha256.

    Of one that is being written they are not those of what the disk made of it: then the file
    counts as damaged.
    """
    raw, size = header.grid.voxels * header.components * 4, len(data)
    digest = hashlib.sha256(data).hexdigest()
    return dataclasses.replace(record, bytes=size, ratio=raw / size, sha256=digest)


def step_names(steps: Sequence[int]) -> str:
    """``step 3``, ``steps 3, 5``, ``steps 0 to 40``, ``steps 3, 5 … 40``: ascending numbers."""
    if len(steps) == 1:
        return f"step {steps[0]}"
    if len(steps) < 5:
        return "steps " + ", ".join(map(str, steps))
    first, second, *_, last = steps
    whole = last - first < len(steps)
    return f"steps {first} to {last}" if whole else f"steps {first}, {second} … {last}"
