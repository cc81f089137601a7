"""Every way to load the plugin gives every proxy of the XML."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from metainr_core import launch

ROOT = Path(__file__).parents[2]
XML = ROOT / "xml" / "MetaINR.xml"
CHECK = Path(__file__).with_name("check_proxies.py")

pytestmark = pytest.mark.skipif(not shutil.which("pvpython"), reason="ParaView is not installed")


def run_check(arguments: Sequence[object], environment: dict[str, str]) -> dict[str, str]:
    """Run check_proxies.py in pvpython; returns the file behind each proxy's class."""
    result = subprocess.run(
        ["pvpython", CHECK, XML, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ERR" not in result.stderr, result.stderr
    return dict(line.split(maxsplit=1) for line in result.stdout.splitlines())


def host_environment(*, plugins: bool) -> dict[str, str]:
    folders = launch.package_folders(launch.PACKAGES)
    environment = launch.host_environment(os.environ, folders, launch.xml_folder())
    if not plugins:
        del environment["PV_PLUGIN_PATH"]
    return environment


def test_plugin_path() -> None:
    assert run_check([], host_environment(plugins=True))


def test_xml() -> None:
    assert run_check([XML], host_environment(plugins=False))


def test_python_loader() -> None:
    """What ParaView 5.13 and newer load; it brings its own folders."""
    environment = host_environment(plugins=False)
    torch_only = map(str, launch.package_folders(["torch"]))
    environment["PYTHONPATH"] = os.pathsep.join(torch_only)
    files = run_check([ROOT / "plugin" / "MetaINR.py"], environment)
    assert {Path(file).parent for file in files.values()} == {ROOT / "plugin" / "metainr_paraview"}
