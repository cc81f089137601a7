"""The macro in ParaView's window, chosen from the menu Macros."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from tests.hosts import blob, display, environment, require, write_series

MACROS = Path(__file__).parent / "macros"
NAME = "Side by side"
TIMES = (1.0, 2.0, 4.0)


def test_the_macro_shows_two_selected_series(tmp_path: Path) -> None:
    require("paraview", "Xvfb")
    originals = [blob(x, 16) for x in (0.3, 0.5, 0.7)]
    others = [v + 0.01 * (k + 1) * blob(0.1, 16) for k, v in enumerate(originals)]
    write_series(tmp_path / "original", originals, TIMES)
    write_series(tmp_path / "other", others, TIMES)
    chosen = "metainr_side_by_side", "gui_open", "metainr_side_by_side", "gui_check"
    output = choose(tmp_path, *chosen, "gui_check", "metainr_side_by_side", "gui_check")
    messages = [line for line in output.splitlines() if "ERROR: " in line]
    assert len(messages) == 1, output  # of the first run, when nothing was open
    assert "Meta-INR side by side: which volumes? In the Pipeline Browser" in messages[0]
    assert "Traceback" not in output
    lines = (tmp_path / "found.json").read_text().splitlines()
    first, second, again = (json.loads(line) for line in lines)

    assert first["views"] == 4, output
    assert [first["time"], second["time"], again["time"]] == list(TIMES)
    for found, original, other in zip((first, second, again), originals, others, strict=True):
        error = np.mean((np.float32(original) - np.float32(other)).astype(float) ** 2)
        psnr = 20 * np.log10(np.ptp(original)) - 10 * np.log10(error)
        texts = found["texts"]
        assert texts[f"{NAME}: original text"] == f"Original\ntime {found['time']:g}"
        assert f"PSNR {psnr:.1f} dB" in texts[f"{NAME}: reconstruction text"]
        assert re.search(
            r"Chamfer [\d.]+, [\d.]+, [\d.]+ voxels\nat ", texts[f"{NAME}: difference text"]
        )
        assert found["cameras"] == [[40.0, 30.0, 20.0]] * 3
        assert np.ptp(found["sizes"], axis=0).max() < 5
    counted = "sources", "views", "layouts", "representations", "scalar_bars", "lookup_tables"
    for group in (*counted, "links"):
        assert again[group] == first[group], f"{group}: a second run adds to the first"


def choose(folder: Path, *macros: str) -> str:
    """Chooses macros from ParaView's menu, one after the other; returns what it printed."""
    script = folder / "events.xml"
    events = "".join(
        f'<pqevent object="pqClientMainWindow/menubar/menu_Macros" command="activate"'
        f' arguments="{macro}"/>'
        for macro in macros
    )
    script.write_text(f'<?xml version="1.0" ?><pqevents>{events}</pqevents>')
    with display() as screen:
        folders = environment()
        folders["PV_MACRO_PATH"] += os.pathsep + str(MACROS)
        result = subprocess.run(
            ["paraview", "--dr", f"--test-script={script}", "--exit"],
            env={**folders, "DISPLAY": screen, "METAINR_GUI_TEST": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )
    assert "Success =  true" in result.stdout, result.stdout
    return result.stdout
