"""ParaView's window as the client of a pvserver: PyTorch, files and messages are the server's."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("vtkmodules")
from metainr_core import launch
from tests.gui.application import MACROS, PROPERTIES, Application
from tests.hosts import ROOT, blob, display, require, write_series

TIMES = (1.0, 2.0, 4.0)
METAINR = str(Path(sys.executable).with_name("metainr"))
# A ParaView that has only the description of the filters, and nothing of what they run.
PLAIN = {"PYTHONPATH": "", "PV_PLUGIN_PATH": str(launch.xml_folder())}


@contextmanager
def server(folder: Path, command: Sequence[str], **environment: str) -> Iterator[str]:
    """The address of a pvserver that serves one client, and works in ``folder``."""
    require("pvserver", "Xvfb")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    # Without a display on the server the window opens with a question.
    with display() as screen, log.open("w") as file:
        process = subprocess.Popen(
            [*command, f"--server-port={port}"], cwd=folder, stdout=file, stderr=file,
            env={**os.environ, **environment, "DISPLAY": screen},
        )  # fmt: skip
        try:
            for _ in range(300):
                if "Connection URL" in log.read_text():
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield f"cs://localhost:{port}"
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the server; nothing of it is in the client's."""
    far = tmp_path / "far"
    far.mkdir()
    write_series(far / "data", [blob(x, 16) for x in (0.3, 0.5, 0.7)], TIMES)
    return far


def test_everything_happens_on_the_server(tmp_path: Path, folder: Path) -> None:
    with server(folder, [METAINR, "pvserver"]) as url:
        macros = os.pathsep.join([str(MACROS), str(launch.macro_folder())])
        views = {"PYTHONPATH": str(ROOT / "plugin"), "PV_MACRO_PATH": macros}
        gui = Application(tmp_path, url, ["paraview"], **PLAIN | views)
        gui.open(folder / "data" / "series.pvd")
        gui.apply()
        gui.add_filter("MetaINRPretrain")
        gui.fill("PriorFile", "prior.safetensors")
        gui.event(f"{PROPERTIES}/OuterSteps/LineEdit0", "set_string", 100000)
        gui.apply()
        gui.pause(2)
        gui.press("Stop")
        gui.pause(4)
        gui.event(f"{PROPERTIES}/OuterSteps/LineEdit0", "set_string", 3)
        gui.apply()
        gui.pause(2)
        gui.python("SetActiveSource(FindSource('series.pvd'))")
        gui.add_filter("MetaINREncode")
        gui.fill("PriorFile", "prior.safetensors")
        gui.fill("ArchiveFile", "results/run.minr")
        gui.event(f"{PROPERTIES}/Epochs/LineEdit0", "set_string", 1)
        gui.apply()
        gui.pause(2)
        gui.add_filter("MetaINRDecode")
        gui.apply()
        found = gui.python(
            """
            import sys

            names = [f"MetaINR{kind}1" for kind in ("Pretrain", "Encode", "Decode")]
            sizes = [FindSource(name).GetDataInformation() for name in names]
            shown = [r.Visibility for r in GetActiveView().Representations if "Input" in dir(r)]
            result = {
                "rows": [size.GetNumberOfRows() for size in sizes[:2]],
                "points": sizes[2].GetNumberOfPoints(),
                "shown": shown,
                "times": list(FindSource("MetaINRDecode1").TimestepValues),
                "torch": "torch" in sys.modules,
            }
            """
        )
        gui.open(folder / "results" / "run.minr")
        gui.apply()
        opened = gui.python(
            """
            reader = GetActiveSource()
            reader.UpdatePipeline(2.0)
            original = FindSource("series.pvd")
            compare = MetaINRCompare(Reference=original, Reconstruction=reader, TimeSteps="all")
            compare.UpdatePipeline()
            map = MetaINRProjection(Input=reader, Method="pca")
            map.UpdatePipeline()
            tables = compare.GetDataInformation(), map.GetDataInformation()
            result = reader.GetXMLName(), [table.GetNumberOfRows() for table in tables]
            Delete(map)
            Delete(compare)
            SetActiveSource(reader)
            """
        )
        gui.python(
            """
            model = servermanager.ProxyManager().GetSelectionModel("ActiveSources")
            model.Select(FindSource("series.pvd").SMProxy, model.SELECT)
            """
        )
        gui.macro("metainr_side_by_side")
        shown = gui.python(
            """
            import sys

            text = FindSource("Side by side: reconstruction text")
            text.UpdatePipelineInformation()
            text.UpdatePropertyInformation()
            result = text.GetPropertyValue("AnnotationValue"), "torch" in sys.modules
            """
        )
        output = gui.run()
    assert "ERR" not in output, output
    stopped = r"WARNING: Meta-INR Pretrain: stopped; prior.safetensors keeps \d+ of 100000 rounds"
    assert len(re.findall(stopped, output)) == 1, output
    few_passes = len(re.findall(r"WARNING: Meta-INR Encode: .* no better than", output))
    assert output.count("WARNING") == 1 + few_passes, output
    assert found() == {
        "rows": [3, 3], "points": 16**3, "shown": [1], "times": list(TIMES), "torch": False,
    }  # fmt: skip
    assert opened() == ["MetaINRReader", [3, 3]]
    text, torch = shown()
    assert "PSNR" in text
    assert not torch
    # Paths without a folder in front are relative to where the server was started.
    assert (folder / "prior.safetensors").is_file()
    assert (folder / "results" / "run.minr").is_file()


def test_a_server_without_pytorch_says_so_in_the_window(tmp_path: Path, folder: Path) -> None:
    modules = os.pathsep.join([str(ROOT), str(ROOT / "plugin")])
    with server(folder, ["pvserver"], **PLAIN | {"PYTHONPATH": modules}) as url:
        gui = Application(tmp_path, url, ["paraview"], **PLAIN)
        gui.open(folder / "data" / "series.pvd")
        gui.apply()
        gui.add_filter("MetaINREncode")
        gui.fill("ArchiveFile", folder / "run.minr")
        gui.apply()
        gui.pause(2)
        rows = gui.python("result = GetActiveSource().GetDataInformation().GetNumberOfRows()")
        output = gui.run()
    assert rows() == 0
    lines = [line for line in output.splitlines() if "ERROR" in line]
    assert len(lines) == 1, output
    assert "Meta-INR Encode: ParaView's Python 3." in lines[0]
    assert "cannot import torch" in lines[0]
    assert "metainr pvserver" in lines[0]
    assert "Traceback" not in output
