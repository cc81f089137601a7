"""A small archive, written by hand: its header, its records and its networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from metainr_core.config import SirenConfig
from metainr_core.grid import Grid
from metainr_core.records import Header, StepRecord
from metainr_core.series import Range
from metainr_core.siren import initialize
from metainr_core.tensor_file import TensorFile

HEADER = Header("speed", 1, Grid((6, 5, 4)), SirenConfig(4, 0), Range((-1.0,), (2.0,)))
INFO: dict[str, Any] = {
    "series": "run.pvd",
    "series_range": {"low": [-1.0], "high": [2.0]},
}


def record(step: int, **changes: Any) -> StepRecord:
    fields: dict[str, Any] = {
        "step": step,
        "time": step / 2,
        "psnr": 20.0,
        "psnr_series": 20.0,
        "max_error": 0.5,
        "seconds": 1.25,
        "epochs": 2,
        "mean_squared_error": 0.09,
        "value_low": (-1.0,),
        "value_high": (2.0,),
        "data": "d",
        "settings": "s",
    }
    return StepRecord(**{**fields, **changes})


def networks(seed: int, header: Header = HEADER) -> Any:
    return initialize(header.siren, 1, 1, torch.Generator().manual_seed(seed))


def bytes_in(path: Path, name: str) -> bytes:
    """A tensor of bytes in a file."""
    return TensorFile.read(path).tensor(name, "U8").tobytes()


def strict_json(path: Path) -> dict[str, Any]:
    """As parsers other than Python's read it: NaN and Infinity are no JSON."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{path} holds {token}")

    data = json.loads(path.read_bytes(), parse_constant=refuse)
    assert isinstance(data, dict)
    return data
