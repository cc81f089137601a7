"""Headers and step records: the round trip, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from metainr_core.config import SirenConfig
from metainr_core.errors import DAMAGE, MetaINRError
from metainr_core.grid import Grid
from metainr_core.hashing import file_sha256
from metainr_core.records import Header, StepRecord, of_one_fit, over_range, step_names, with_data
from metainr_core.series import Range
from tests.core.archives import record

HEADER = Header("speed", 2, Grid((6, 5, 4)), SirenConfig(4, 1), Range((-1.0, 0.0), (2.0, 1.0)))
RECORD = record(3)


def test_a_record_of_format_1_was_decoded_in_float32() -> None:
    data = through_json(RECORD.to_json())
    del data["precision"]
    assert StepRecord.from_json(data).precision == "fp32"


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(data, allow_nan=False))


def test_a_header_survives_json() -> None:
    again = Header.from_json(through_json(HEADER.to_json()))
    assert again == HEADER
    assert again.identity == HEADER.identity
    other = dataclasses.replace(HEADER, array="pressure")
    assert other.identity != HEADER.identity


def test_a_record_survives_json() -> None:
    assert StepRecord.from_json(through_json(RECORD.to_json())) == RECORD


def test_an_exact_step_has_no_number_in_json_and_infinity_again_in_python() -> None:
    exact = dataclasses.replace(RECORD, mean_squared_error=0.0, psnr=math.inf)
    data = through_json(exact.to_json())
    assert data["psnr"] is None
    assert StepRecord.from_json(data).psnr == math.inf


@pytest.mark.parametrize(
    "change",
    [
        {"step": "3"},
        {"mean_squared_error": "x"},
        {"max_error": math.nan},
        {"value_low": None},
        {"value_high": [1.0, 2.0]},
        {"data": 7},
        {"surprise": 1},
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((*DAMAGE, MetaINRError)):
        StepRecord.from_json({**RECORD.to_json(), **change})


def test_the_series_range_decides_the_other_psnr() -> None:
    assert over_range(RECORD, 30.0).psnr_series == pytest.approx(40.0)
    assert over_range(RECORD, 30.0).psnr == 20.0


def test_a_record_takes_the_figures_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "step"
    path.write_bytes(b"x" * 96)
    row = with_data(RECORD, path.read_bytes(), HEADER)
    assert (row.bytes, row.ratio, row.sha256) == (96, 10.0, file_sha256(path))
    assert of_one_fit(row, RECORD)
    assert not of_one_fit(row, dataclasses.replace(RECORD, seconds=1.6))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([3], "step 3"),
        ([3, 5], "steps 3, 5"),
        (list(range(2, 22)), "steps 2 to 21"),
        ([0, 2, 3, 4, 9], "steps 0, 2 … 9"),
    ],
)
def test_names_of_steps_are_short(steps: list[int], expected: str) -> None:
    assert step_names(steps) == expected
