"""A session in ParaView's window: trace, undo, state, animation. Nothing is trained twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_core import launch
from tests.gui.application import PROPERTIES, Application
from tests.hosts import ROOT, blob, display, environment, write_series

TIMES = (1.0, 2.0, 4.0)
LIST = "result = sorted(name for name, _ in GetSources())"
# Every filter, with its data at the last time.
FOUND = """
result = {}
for (name, _), source in GetSources().items():
    source.UpdatePipeline(4.0)
    size = source.GetDataInformation()
    arrays = {array.Name: array.GetRange() for array in source.PointData}
    result[name] = [size.GetNumberOfRows(), size.GetNumberOfPoints(), arrays]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_series(tmp_path / "work" / "data", [blob(x, 16) for x in (0.3, 0.5, 0.7)], TIMES)
    (tmp_path / "work" / "results").mkdir()
    return tmp_path / "work"


def written(folder: Path) -> dict[str, int]:
    """When each result was written."""
    files = [path for path in (folder / "results").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


def start(gui: Application, folder: Path) -> None:
    """Series, prior and archive, as in the README."""
    gui.open(folder / "data" / "series.pvd")
    gui.apply()
    gui.add_filter("MetaINRPretrain")
    gui.fill("PriorFile", folder / "results" / "prior.safetensors")
    gui.event(f"{PROPERTIES}/OuterSteps/LineEdit0", "set_string", 3)
    gui.apply()
    gui.pause(2)
    gui.python("SetActiveSource(FindSource('series.pvd'))")
    gui.add_filter("MetaINREncode")
    gui.fill("PriorFile", folder / "results" / "prior.safetensors")
    gui.fill("ArchiveFile", folder / "results" / "run.minr")
    gui.event(f"{PROPERTIES}/Epochs/LineEdit0", "set_string", 1)
    gui.apply()
    gui.pause(2)
    gui.add_filter("MetaINRDecode")
    gui.apply()


def test_a_session_is_traced_undone_saved_and_loaded_elsewhere(
    tmp_path: Path, folder: Path
) -> None:
    gui = Application(tmp_path)
    gui.event("menubar/menuTools", "activate", "actionToolsStartStopTrace")
    gui.event("/TraceOptionsDialog/widget/OKButton", "activate")
    start(gui, folder)
    gui.event("VCRToolbar/1QToolButton5", "activate")  # last time
    gui.event("representationToolbar/displayRepresentation/comboBox", "set_string", "Surface")
    trace = gui.python(
        """
        from paraview import smtrace

        result = smtrace.get_current_trace_output()
        servermanager.vtkSMTrace.StopTrace()
        """
    )
    first = gui.python(
        "import os, pathlib\n"
        f"files = [p for p in pathlib.Path({str(folder)!r}, 'results').rglob('*') if p.is_file()]\n"
        f"result = {{os.path.relpath(p, {str(folder)!r}): p.stat().st_mtime_ns for p in files}}"
    )

    undone = []
    resolution = "result = FindSource('MetaINRDecode1').GetProperty('Resolution').GetData()"
    gui.python("SetActiveSource(FindSource('MetaINRDecode1'))")
    gui.event(f"{PROPERTIES}/Resolution/ComboBox", "set_string", "scale")
    gui.apply()
    for step in ("actionEditUndo", "actionEditRedo", "actionEditUndo"):
        gui.menu("Edit", step)
        undone.append(gui.python(resolution))
    gui.event("propertiesDock/propertiesPanel/Delete", "activate")
    undone.append(gui.python(LIST))
    gui.menu("Edit", "actionEditUndo")
    undone.append(gui.python(LIST))

    gui.add_filter("MetaINRProjection")
    gui.apply()
    gui.open(folder / "results" / "run.minr")
    gui.apply()
    gui.python(
        """
        pair = {"Reference": FindSource("series.pvd"), "Reconstruction": GetActiveSource()}
        MetaINRCompare(registrationName="MetaINRCompare1", **pair)
        """
    )
    before = gui.python(FOUND)
    gui.menu("File", "actionFileSaveServerState")
    gui.event("FileSaveServerStateDialog", "filesSelected", folder / "state.pvsm")
    output = gui.run()
    assert "ERR" not in output, output
    assert written(folder) == first(), "undoing or redoing has trained again"
    names = ["MetaINRDecode1", "MetaINREncode1", "MetaINRPretrain1", "series.pvd"]
    assert [answer() for answer in undone] == [
        "original", "scale", "original", [n for n in names if n != "MetaINRDecode1"], names,
    ]  # fmt: skip
    check_trace(trace(), folder, before()["MetaINRDecode1"])
    check_state(tmp_path, folder, before())


def check_trace(trace: str, folder: Path, decoded: list[Any]) -> None:
    """Run by pvpython where there is no result yet, it gives the same data."""
    made = re.findall(r"^metaINR(\w+) = (MetaINR\w+)\(", trace, re.MULTILINE)
    assert [kind for _, kind in made] == ["MetaINRPretrain", "MetaINREncode", "MetaINRDecode"]
    set_to = set(re.findall(r"^metaINR(?:Pretrain|Encode|Decode)1\.(\w+) =", trace, re.MULTILINE))
    assert set_to == {"Scalars", "PriorFile", "OuterSteps", "ArchiveFile", "Epochs", "Box"}
    again = folder.with_name("again")
    shutil.copytree(folder / "data", again / "data")
    (again / "results").mkdir()
    tail = "d = FindSource('MetaINRDecode1')\nd.UpdatePipeline(GetTimeKeeper().Time)\n"
    tail += "print('range', *d.PointData['speed'].GetRange())\n"
    script = again / "trace.py"
    script.write_text(trace.replace(str(folder), str(again)) + "\n" + tail)
    metainr = str(Path(sys.executable).with_name("metainr"))
    with display() as screen:
        result = subprocess.run(
            [metainr, "pvpython", str(script)], env={**os.environ, "DISPLAY": screen},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )  # fmt: skip
    assert result.returncode == 0, result.stdout
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("range")]
    values = [float(x) for x in line.split()[1:]]
    assert values == pytest.approx(decoded[2]["speed"], abs=1e-5)


def check_state(tmp_path: Path, folder: Path, before: dict[str, Any]) -> None:
    """Loaded where all files are in another folder, by a script and in the window, it shows the
    same and trains nothing; then a film of it is made."""
    moved = folder.with_name("moved")
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    first = written(moved)
    drive = str(ROOT / "tests" / "plugin" / "drive_state.py")
    xml = str(launch.xml_folder() / launch.XML_NAME)
    with display() as screen:
        result = subprocess.run(
            ["pvpython", drive, xml, str(moved / "state.pvsm"), str(moved)], text=True,
            env={**environment(), "PV_PLUGIN_PATH": "", "DISPLAY": screen}, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    assert result.returncode == 0, result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("{")]
    found = json.loads(line)
    assert found["trained"] == 0
    assert found["points"] == {"MetaINRDecode": 16**3, "MetaINRReader": 16**3}
    assert found["rows"]["MetaINREncode"] == [3]

    gui = Application(moved)
    gui.menu("File", "actionFileLoadServerState")
    gui.event("FileLoadServerStateDialog", "filesSelected", moved / "state.pvsm")
    options = "/LoadStateOptionsDialog/scrollArea/qt_scrollarea_viewport/Container/ProxyWidget"
    gui.event(
        f"{options}/LoadStateDataFileOptions/ComboBox", "set_string",
        "Search files under specified directory",
    )  # fmt: skip
    gui.event(f"{options}/DataDirectory/FileChooser/FileLineEdit", "set_string", moved)
    gui.event("/LoadStateOptionsDialog/widget/OKButton", "activate")
    gui.pause(1)
    after = gui.python(FOUND)
    gui.python("SetActiveView(FindViewOrCreate('RenderView2', 'RenderView'))")
    gui.menu("File", "actionFileSaveAnimation")
    gui.event("SaveAnimationFileDialog", "filesSelected", moved / "film.png")
    gui.event("/SaveAnimationDialog/widget/OKButton", "activate")
    gui.pause(2)
    output = gui.run()
    assert "ERR" not in output, output
    assert after() == before
    assert written(moved) == first, "loading the state has trained again"
    assert not folder.exists()
    frames = [pixels(moved / f"film.{number:04}.png") for number in range(len(TIMES))]
    assert all(np.ptp(frame) > 50 for frame in frames)
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[1], frames[2])


def pixels(path: Path) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOImage import vtkPNGReader

    reader = vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    return vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()).astype(int)
