"""What the panels expect follows edited settings, here and on a server."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vtkmodules")
from metainr_core import launch
from metainr_core.device import describe, find_device
from tests.hosts import ROOT, blob, environment, pvserver, require, write_series


@pytest.mark.parametrize("remote", [False, True], ids=["builtin", "server"])
def test_edited_settings_are_shown(tmp_path: Path, remote: bool) -> None:
    require("pvpython", "pvserver")
    pvd = write_series(tmp_path / "series", [blob(0.3, 16), blob(0.7, 16)], (1.0, 2.0))
    script = Path(__file__).with_name("drive_readouts.py")
    client = environment()
    if remote:  # a client needs no torch
        client["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "plugin")])
    server = pvserver(tmp_path / "server.log", environment())
    with server if remote else nullcontext() as port:
        more = [str(port)] if remote else []
        result = subprocess.run(
            ["pvpython", script, pvd, *more],
            env=client,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    first = {case: lines[0] for case, lines in found.items() if isinstance(lines, list)}
    assert first.pop("impossible") == "width is 5000; expected 1 to 4096"
    assert first == {
        "unread": "once the input is read",
        "made": first["another"],
        "edited": "1 of width 9",
        "edited more": "8 of width 9",
        "another": first["made"],
        "applied": "8 of width 9",
        "put back": "8 of width 9",
    }
    assert found["edited more"][1] == "8 × 316"
    assert found["made"][3] == describe(find_device("auto"))
    assert found["gone"]
    assert found["torch"] != remote, "the server computes"


def test_the_users_script_runs_after_ours(tmp_path: Path) -> None:
    require("pvpython")
    script = tmp_path / "mine.py"
    script.write_text("import sys\nprint('followed:', 'metainr_views.readouts' in sys.modules)\n")
    result = subprocess.run(
        ["pvpython", ROOT / "plugin" / "metainr_views" / "startup.py"],
        env={**environment(), launch.USER_SCRIPT: str(script)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout.splitlines() == ["followed: True"], result.stderr
