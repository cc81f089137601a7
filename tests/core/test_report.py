"""What the commands say of their results, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metainr_core.cli import main
from tests.core.command_line import (
    ENCODE,
    NETWORK,
    Capture,
    run,
)


def test_people_get_a_table(folder: Path, capsys: Capture) -> None:
    command = ["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE, "--json", "out.json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[-7].split()[:4] == ["step", "time", "psnr", "psnr_series"]
    assert [line.split()[0] for line in lines[-6:]] == list("012345")
    report = json.loads((folder / "out.json").read_text())
    assert len(report["steps"]) == 6


def test_goals_and_what_was_reached(folder: Path, capsys: Capture) -> None:
    coded = ["--weights", "coded", "--coding-loss", "0.5"]
    command = ["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE, *coded]
    report = run(capsys, *command)
    assert report["weights"] == ["coded"]
    assert not {"target_psnr", "target_ratio", "max_error"} & set(report)
    report = run(capsys, *command, "--target-psnr", "1", "-o", "b.minr")
    worst = min(row["psnr_series"] for row in report["steps"])
    assert report["target_psnr"] == {"asked": 1, "reached": pytest.approx(worst)}
    assert main(["info", "b.minr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"target_psnr       asked 1, reached {worst:.4g}" in lines
    assert "weights           coded" in lines

    ratio = report["ratio"] * 0.97
    report = run(capsys, *command, "--target-ratio", str(ratio), "-o", "c.minr")
    assert report["network"]["width"] == 8, "given, and so kept"
    assert report["target_ratio"] == {"asked": pytest.approx(ratio), "reached": report["ratio"]}
    assert report["ratio"] >= ratio


@pytest.mark.filterwarnings("always::metainr_core.errors.MetaINRWarning")
def test_a_goal_that_is_missed_is_said_once(folder: Path, capsys: Capture) -> None:
    command = ["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE]
    assert main([*command, "--target-psnr", "90", "--steps", "1,3"]) == 0
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "target" in line]
    assert line.startswith(
        "metainr: run.minr: steps 1, 3 miss the target of 90 dB; more epochs or a wider network"
    )
    assert "target_psnr       asked 90, reached " in captured.out
    # Of the steps of this command only.
    assert main([*command, "--target-psnr", "90", "--steps", "4", "--json", "out.json"]) == 0
    assert "metainr: run.minr: step 4 misses the target" in capsys.readouterr().err
    flags = ["--weights", "float32", "--target-ratio", "2", "--hidden-layers", "1"]
    assert main(["encode", "flow", "-o", "b.minr", "--steps", "0", *ENCODE, *flags]) == 0
    error = capsys.readouterr().err
    assert "metainr: b.minr: target_ratio is 2, and the archive reaches 1." in error


def test_exact_and_rangeless_steps_are_told_apart(folder: Path, capsys: Capture) -> None:
    """No error is "exact"; an error where the step's own range is nothing has no PSNR."""
    for step, value in ((1, 0.0), (2, 0.123)):
        path = folder / "flow" / "speed" / f"flow-speed-{step}.raw"
        path.write_bytes(np.full(960, value, "<f4").tobytes())
    for path in (folder / "flow" / "speed").glob("flow-speed-[3456].raw"):
        values = np.linspace(-1, 1, 960).astype("<f4")
        path.write_bytes(values.tobytes())
    assert main(["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-6:]]
    assert rows[0][2:4] == ["exact", "exact"]
    report = run(capsys, "info", "run.minr")
    assert report["steps"][0]["psnr"] is None
    if report["steps"][1]["max_error"] > 0:
        assert rows[1][2] == "-"
        assert float(rows[1][3]) > 100
