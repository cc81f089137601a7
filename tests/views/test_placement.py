"""Tabs that macros make, in a Python trace."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.hosts import environment, require

TRACED = """
from paraview import simple, smtrace
from metainr_views.placement import make_layout

make_layout("before")
smtrace.start_trace()
layout = make_layout("Side by side")
layout.SplitVertical(0, 0.5)
trace = smtrace.stop_trace()
make_layout("after")
simple.RemoveLayout(layout)
exec(trace, {})
found = simple.GetLayoutByName("Side by side")
print("places:", [found.GetSplitFraction(0), trace.count("CreateLayout")])
"""


def test_a_trace_makes_the_tab_again(tmp_path: Path) -> None:
    require("pvpython")
    script = tmp_path / "traced.py"
    script.write_text(TRACED)
    result = subprocess.run(
        ["pvpython", script], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert "places: [0.5, 1]" in result.stdout
