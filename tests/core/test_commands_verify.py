"""``metainr verify`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metainr_core.archive import Archive
from metainr_core.cli import main
from metainr_core.config import EncodeConfig
from metainr_core.encoding import encode
from metainr_core.series import open_series
from tests.core.command_line import fails

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(folder: Path, quick: EncodeConfig) -> Path:
    encode(open_series("flow"), folder / "run.minr", config=quick, steps=[0, 1, 3])
    return folder


def verified(capsys: Capture, code: int, *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["verify", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_all_is_well(run: Path, capsys: Capture) -> None:
    found = verified(capsys, 0, "run.minr", "flow", "--device", "cpu")
    assert (found["ok"], found["differs"], found["verified"]) == (True, [], "3 steps")
    assert found["errors"] == "the same to the last digit in 3 of 3 steps"
    records = Archive.open("run.minr").records
    assert [row["psnr"] for row in found["steps"]] == [r.psnr for r in records]
    assert [row["max_error"] for row in found["steps"]] == [r.max_error for r in records]
    assert verified(capsys, 0, "run.minr")["ok"]


def test_the_table(run: Path, capsys: Capture) -> None:
    (run / "run" / "step_000001.safetensors").unlink()
    capsys.readouterr()
    assert main(["verify", "run.minr", "flow", "--json", "report.json"]) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert any(line.startswith("differs") and "does not exist" in line for line in lines)
    head, *rows = lines[-4:]
    assert head.split() == ["step", "time", "psnr", "psnr_series", "max_error", "off", "result"]
    assert [row.split()[-1] for row in rows] == ["ok", "file", "ok"]
    report = json.loads((run / "report.json").read_text())
    (entry,) = report["steps"][1]["differs"]
    assert (entry["what"], entry["recorded"]) == ("file", "readable")


def test_a_changed_psnr(run: Path, capsys: Capture) -> None:
    index = json.loads((run / "run.minr").read_text())
    index["steps"][2]["psnr"] += 1
    (run / "run.minr").write_text(json.dumps(index))
    found = verified(capsys, 1, "run.minr")
    assert [row["step"] for row in found["steps"] if row["differs"]] == [3]
    # The value from the mean squared error is what everything else shows.
    entry = found["steps"][2]["differs"][0]
    assert entry["what"] == "psnr"
    assert entry["recorded"] == pytest.approx(entry["found"] + 1)
    assert verified(capsys, 0, "run.minr", "--steps", "0:2")["ok"]


def test_bad_input(run: Path, capsys: Capture) -> None:
    assert "does not exist" in fails(capsys, "verify", "other.minr")
    assert "holds no step 2; it holds steps 0, 1, 3" in fails(
        capsys, "verify", "run.minr", "--steps", "2"
    )
    assert "SERIES, which is not given" in fails(capsys, "verify", "run.minr", "--array", "speed")
    (run / "run.minr").write_text("{")
    assert "run.minr is damaged" in fails(capsys, "verify", "run.minr")


def test_an_ensemble(run: Path, capsys: Capture, quick: EncodeConfig) -> None:
    (run / "data.csv").write_text("name,FILE\na,flow\nb,flow\n")
    encode(open_series("data.csv"), run / "all.minr", config=quick, steps=[0, 7])
    found = verified(capsys, 0, "all.minr", "data.csv")
    assert [(row["step"], row["member"]) for row in found["steps"]] == [(0, "a"), (7, "b")]
