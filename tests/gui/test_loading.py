"""Tools > Manage Plugins in a ParaView that knows nothing of the plugin: its filters are in the
menu, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("vtkmodules")
from metainr_core import launch
from tests.gui.application import PROPERTIES, Application
from tests.hosts import ROOT, blob, write_series


def test_xml(tmp_path: Path) -> None:
    modules = map(str, launch.package_folders(launch.PACKAGES))
    file = load_and_encode(tmp_path, launch.xml_folder() / launch.XML_NAME, *modules)
    assert file == str(ROOT / "plugin" / "metainr_paraview" / "encode.py")


def test_library(tmp_path: Path) -> None:
    if not shutil.which("cmake"):
        pytest.skip("CMake is not installed")
    build = tmp_path / "build"
    commands = [["cmake", "-S", str(ROOT), "-B", str(build)], ["cmake", "--build", str(build)]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        if "only XML and Python" in done.stdout:
            pytest.skip("ParaView's development files are not installed")
    (library,) = build.rglob("MetaINR.so")
    # The filters are in the library; the core and PyTorch come from outside.
    folders = [*launch.package_folders(["torch"]), ROOT]
    assert load_and_encode(tmp_path, library, *map(str, folders)) is None


def load_and_encode(tmp_path: Path, plugin: Path, *modules: str) -> str | None:
    """Returns the file that the filter's module comes from."""
    series = write_series(tmp_path / "data", [blob(0.4, 16), blob(0.6, 16)], [1.0, 2.0])
    python_path = os.pathsep.join(modules)
    gui = Application(tmp_path, None, ["paraview"], PYTHONPATH=python_path, PV_PLUGIN_PATH="")
    manager = "PluginManagerDialog"
    gui.event("menubar/menuTools", "activate", "actionManage_Plugins")
    gui.event(f"{manager}/splitter/localGroup/loadLocal", "activate")
    gui.event(f"{manager}/pqFileDialog", "filesSelected", plugin)
    gui.event(f"{manager}/buttonBox/1QPushButton0", "activate")
    gui.open(series)
    gui.apply()
    gui.add_filter("MetaINREncode")
    gui.event(f"{PROPERTIES}/Init/ComboBox", "set_string", "random")
    gui.fill("ArchiveFile", tmp_path / "run.minr")
    gui.apply()
    gui.pause(2)
    found = gui.python(
        """
        import sys

        module = sys.modules["metainr_paraview.encode"]
        rows = GetActiveSource().GetDataInformation().GetNumberOfRows()
        result = rows, getattr(module, "__file__", None)
        """
    )
    output = gui.run()
    assert "ERR" not in output, output
    rows, file = found()
    assert rows == 2
    return file
