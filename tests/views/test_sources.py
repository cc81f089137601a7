"""Which two sources the macro takes for the original and its reconstruction."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("vtkmodules")
from metainr_core import EncodeConfig, SirenConfig, encode, open_series
from tests.hosts import blob, environment, require, write_series


def test_pairs_in_pipelines(tmp_path: Path) -> None:
    require("pvpython")
    volumes, times = [blob(0.3, 8), blob(0.7, 8)], (1.0, 2.0)
    pvd = write_series(tmp_path / "original", volumes, times)
    write_series(tmp_path / "other", volumes, times)
    config = EncodeConfig(siren=SirenConfig(width=8, hidden_layers=1), init="random", epochs=1)
    encode(open_series(pvd), tmp_path / "run.minr", config=config)
    script = Path(__file__).with_name("drive_pairs.py")
    result = subprocess.run(
        ["pvpython", script, tmp_path],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    asks = ("nothing", "one series", "a reader and one of two series", "an Encode of two Decodes")
    for case in (*asks, "two Compares"):
        (message,) = found.pop(case)
        assert message.startswith("which volumes? In the Pipeline Browser select"), case
    assert found == {
        "a reader and the only series": ["original", "reader"],
        "two series": ["original", "other"],
        "a reader before its series": ["other", "reader"],
        "the only Decode": ["other", "decode"],
        "its Encode": ["other", "decode"],
        "one of two Decodes": ["other", "second"],
        "the only Compare": ["other", "original"],
        "another's selected Decode": ["other", "decode"],
        "two series, beside a Compare": ["original", "other"],
        "one of two Compares": ["other", "original"],
    }
