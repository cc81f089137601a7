"""The tutorial's steps in ParaView's window, in its order; also takes its pictures:

    TUTORIAL_PICTURES=examples/images/tutorial bash tests/run.sh -k tutorial

which needs the quick start's series and ImageMagick.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vtkmodules")
from tests.gui.application import PROPERTIES, Application
from tests.hosts import ROOT

PICTURES = os.environ.get("TUTORIAL_PICTURES", "")
SIZE = "GetActiveSource().GetDataInformation().GetExtent()[1] + 1"
ROWS = "result = GetActiveSource().GetDataInformation().GetNumberOfRows()"


@pytest.mark.skipif(not PICTURES, reason="takes minutes; TUTORIAL_PICTURES names a folder for it")
def test_tutorial(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples/quickstart_output/series", tmp_path / "series")
    series = tmp_path / "series" / "turbulence.pvd"
    metainr = str(Path(sys.executable).with_name("metainr"))
    gui = Application(tmp_path, command=[metainr, "paraview", "-qwindowgeometry", "1400x980+0+0"])
    tour = Tour(gui, series, tmp_path)
    tour.go()
    output = gui.run(200)
    for word in ("ERROR", "WARNING", "Traceback"):
        assert word not in output, output
    steps = len(list(series.parent.glob("*.vti")))
    assert tour.seen["rounds"]() == 60
    assert tour.seen["steps"]() == steps
    assert tour.seen["dimensions"]() == 2 * tour.seen["original"]()
    assert tour.seen["compared"]() == steps
    assert tour.seen["views"]() == 3
    assert tour.seen["points"]() == steps


class Tour:
    """What a reader of the tutorial does. ``seen``: what is there after some of the steps."""

    def __init__(self, gui: Application, series: Path, folder: Path):
        self.gui, self.series, self.folder = gui, series, folder
        self.seen: dict[str, Callable[[], Any]] = {}

    def go(self) -> None:
        gui = self.gui
        gui.open(self.series)
        gui.apply()
        gui.event("representationToolbar/displayRepresentation/comboBox", "set_string", "Volume")
        gui.event("CoreUtilitiesPromptUser/qt_msgbox_buttonbox/1QPushButton0", "activate")
        self.picture("open")

        gui.add_filter("MetaINRPretrain")
        gui.fill("PriorFile", self.folder / "prior.safetensors")
        self.picture("pretrain")
        gui.apply()
        gui.pause(12)
        self.seen["rounds"] = gui.python(ROWS)
        self.picture("training")

        self.select(self.series.name)
        gui.add_filter("MetaINREncode")
        gui.fill("ArchiveFile", self.folder / "run.minr")
        gui.fill("PriorFile", self.folder / "prior.safetensors")
        self.picture("encode")
        gui.apply()
        gui.pause(14)
        self.seen["steps"] = gui.python(ROWS)
        gui.macro("metainr_plot")
        self.picture("quality")

        gui.add_filter("MetaINRDecode")
        gui.python("SetActiveView(FindView('RenderView1'))")  # a click into it
        gui.apply()
        self.picture("decode")
        self.seen["original"] = gui.python(f"result = {SIZE}")
        gui.event(f"{PROPERTIES}/Resolution/ComboBox", "set_string", "scale")
        gui.event(f"{PROPERTIES}/Scale/DoubleRangeWidget/DoubleLineEdit", "set_string", "2")
        gui.apply()
        gui.pause(1)
        self.seen["dimensions"] = gui.python(f"result = {SIZE}")
        gui.event(f"{PROPERTIES}/Resolution/ComboBox", "set_string", "original")
        gui.apply()

        self.select(self.series.name)
        gui.add_filter("MetaINRCompare")
        dialog = "SelectInputDialog"
        gui.event(f"{dialog}/buttonFrame/Reconstruction", "activate")
        gui.event(f"{dialog}/pipelineView", "currentChanged", "/0/0/1/0|0")
        self.picture("inputs")
        gui.event(f"{dialog}/buttonBox/1QPushButton0", "activate")
        gui.apply()
        gui.macro("metainr_plot")
        gui.pause(2)
        self.picture("compare")
        self.seen["compared"] = gui.python(ROWS)
        self.select("MetaINREncode1")
        gui.add_filter("MetaINRProjection")
        gui.python("GetActiveSource().Select = 4")
        gui.pause(0.5)
        gui.apply()
        gui.macro("metainr_plot")
        gui.pause(1)
        self.seen["points"] = gui.python(ROWS)
        self.picture("map")

        self.select("MetaINRCompare1")
        gui.macro("metainr_side_by_side")
        gui.pause(1)
        self.picture("side_by_side")
        self.seen["views"] = gui.python("result = len(GetViewsInLayout())")

    def select(self, name: str) -> None:
        self.gui.python(f"SetActiveSource(FindSource({name!r}))")

    def picture(self, name: str) -> None:
        path = Path(PICTURES).resolve() / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [
            "import",
            "-window",
            "root",
            "-trim",
            "+repage",
            "-strip",
            "-depth",
            "8",
            "+dither",
            "-colors",
            "200",
        ]
        self.gui.pause(1)
        self.gui.python(
            f"import subprocess; subprocess.run({[*command, f'PNG8:{path}']}, check=True)"
        )
