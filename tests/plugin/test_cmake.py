"""CMakeLists.txt builds a plugin that holds its own modules, and installs without building."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metainr_core import launch

ROOT = Path(__file__).parents[2]
XML = ROOT / "xml" / "MetaINR.xml"
CHECK = Path(__file__).with_name("check_proxies.py")

pytestmark = pytest.mark.skipif(not shutil.which("cmake"), reason="CMake is not installed")


def run(*command: object) -> str:
    result = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_the_built_plugin_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "MetaINR.so will be built" not in run("cmake", "-S", ROOT, "-B", tmp_path):
        pytest.skip("ParaView's development files are not installed")
    run("cmake", "--build", tmp_path)
    (library,) = tmp_path.rglob("MetaINR.so")
    # The core and torch come from outside; the plugin's own modules only from the library.
    folders = [*launch.package_folders(["torch"]), ROOT]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    monkeypatch.delenv("PV_PLUGIN_PATH", raising=False)
    output = run("pvpython", CHECK, XML, library)
    proxies = [line.split() for line in output.splitlines() if line.startswith("MetaINR")]
    assert proxies, output
    assert all(file == "None" for _, file in proxies), output


def test_it_installs_without_paraview(tmp_path: Path) -> None:
    build, prefix = tmp_path / "build", tmp_path / "prefix"
    without = "-DCMAKE_DISABLE_FIND_PACKAGE_ParaView=ON"
    assert "only XML and Python" in run("cmake", "-S", ROOT, "-B", build, without)
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", prefix)
    installed = prefix / "share" / "metainr"
    assert (installed / "xml" / "MetaINR.xml").read_bytes() == XML.read_bytes()
    assert (installed / "plugin" / "MetaINR.py").is_file()
    views = installed / "plugin" / "metainr_views"
    assert (views / "macros" / "metainr_side_by_side.py").is_file()
    assert (views / "side_by_side.py").is_file()
    code = "import metainr_core; print(metainr_core.__file__)"
    monkey = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=monkey, cwd=tmp_path, capture_output=True, text=True
    )
    assert found.stdout.strip() == str(installed / "metainr_core" / "__init__.py"), found.stderr
