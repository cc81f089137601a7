"""How ParaView is found and what it is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metainr_core import launch
from metainr_core.errors import LaunchError


def make_program(folder: Path, name: str, script: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_split_home_prefers_the_flag_to_the_variable() -> None:
    environment = {"PARAVIEW_HOME": "/from/variable"}
    assert launch.split_home(["--paraview", "/a", "s.py"], environment) == (Path("/a"), ["s.py"])
    assert launch.split_home(["--paraview=/a", "s.py"], environment) == (Path("/a"), ["s.py"])
    assert launch.split_home(["s.py", "--paraview"], {}) == (None, ["s.py", "--paraview"])
    assert launch.split_home(["s.py"], environment) == (Path("/from/variable"), ["s.py"])


def test_split_home_without_a_value() -> None:
    with pytest.raises(LaunchError, match="--paraview: expected the folder"):
        launch.split_home(["--paraview"], {})
    with pytest.raises(LaunchError, match="--paraview: expected the folder"):
        launch.split_home(["--paraview=", "script.py"], {})


@pytest.mark.parametrize("inside", ["", "bin", "Contents/bin"])
def test_find_program_in_a_home(tmp_path: Path, inside: str) -> None:
    program = make_program(tmp_path / inside, "pvpython")
    assert launch.find_program("pvpython", tmp_path) == program


def test_find_program_beside_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space" / "bin"
    program = make_program(folder, "pvpython")
    assert launch.find_program("pvpython", program) == program
    assert launch.find_program("pvpython", make_program(folder, "paraview")) == program
    monkeypatch.setenv("HOME", str(tmp_path))
    assert launch.find_program("pvpython", Path("~/with space")) == program
    (tmp_path / "link").symlink_to(folder.parent)
    assert launch.find_program("pvpython", tmp_path / "link").samefile(program)


def test_find_program_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_program(tmp_path, "paraview")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch.find_program("paraview", None) == program


def test_a_missing_paraview_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="pvpython is not in the PATH; install ParaView") as error:
        launch.find_program("pvpython", None)
    assert "\n" not in str(error.value)
    with pytest.raises(LaunchError, match="give the folder that holds"):
        launch.find_program("pvpython", tmp_path)
    with pytest.raises(LaunchError, match="nowhere does not exist; give the folder"):
        launch.find_program("pvpython", tmp_path / "nowhere")
    with pytest.raises(LaunchError, match="expected one of paraview, pvpython, pvbatch, pvserver"):
        launch.find_program("pvdataserver", None)


def test_another_python_in_the_host_is_refused(tmp_path: Path) -> None:
    make_program(tmp_path, "pvpython", "echo noise; echo python 2.7")
    with pytest.raises(LaunchError, match=r"runs Python 2\.7 but this environment has 3"):
        launch.check_python(make_program(tmp_path, "paraview"))


def test_a_host_that_does_not_start_is_reported(tmp_path: Path) -> None:
    pvpython = make_program(tmp_path, "pvpython", "echo no display >&2; exit 3")
    with pytest.raises(LaunchError, match="does not start: 'no display'"):
        launch.check_python(pvpython)


def test_a_host_that_cannot_be_started_or_hangs_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pvpython = make_program(tmp_path, "pvpython", "exec sleep 9")
    monkeypatch.setattr(launch, "_PATIENCE", 0.1)
    with pytest.raises(LaunchError, match=r"does not start: .*timed out .*works by itself"):
        launch.check_python(pvpython)
    pvpython.write_bytes(b"no program")
    with pytest.raises(LaunchError, match=r"does not start: .*Exec format error"):
        launch.check_python(pvpython)


def test_a_host_without_pvpython_is_not_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.check_python(make_program(tmp_path, "paraview"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (line,) = capsys.readouterr().err.splitlines()
    assert "no pvpython beside it" in line
    assert f"it has to be {version}" in line


def test_a_link_to_a_host_leads_to_its_pvpython(tmp_path: Path) -> None:
    make_program(tmp_path / "installed here", "pvpython", "echo python 2.7")
    program = make_program(tmp_path / "installed here", "paraview")
    link = tmp_path / "links" / "paraview"
    link.parent.mkdir()
    link.symlink_to(program)
    with pytest.raises(LaunchError, match=r"installed here/pvpython runs Python 2\.7"):
        launch.check_python(link)
    found = launch.find_program("pvpython", link)
    assert found == program.with_name("pvpython"), "beside what the link points to"


def test_package_folders_are_unique_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/package_a", "one/package_b", "two/package_c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        monkeypatch.syspath_prepend(str((tmp_path / name).parent))
    names = ["package_a", "package_c", "package_b"]
    assert launch.package_folders(names) == [tmp_path / "one", tmp_path / "two"]


def test_a_missing_package_is_named() -> None:
    with pytest.raises(LaunchError, match="no_such_package is not installed for"):
        launch.package_folders(["no_such_package"])


def test_a_second_vtk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("package_d", "vtkmodules"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LaunchError, match="holds pip's vtk"):
        launch.package_folders(["package_d"])


def test_the_environment_keeps_what_the_user_has_set() -> None:
    modules = [Path("/venv"), Path("/repo")]
    new = launch.host_environment({"HOME": "/h"}, modules, Path("/xml"))
    join = os.pathsep.join
    assert new == {"HOME": "/h", "PYTHONPATH": join(["/venv", "/repo"]), "PV_PLUGIN_PATH": "/xml"}
    old = {"PYTHONPATH": "/p", "PV_PLUGIN_PATH": "/q"}
    new = launch.host_environment(old, modules, Path("/xml"))
    assert new["PYTHONPATH"] == join(["/venv", "/repo", "/p"])
    assert new["PV_PLUGIN_PATH"] == join(["/xml", "/q"])
    assert old == {"PYTHONPATH": "/p", "PV_PLUGIN_PATH": "/q"}
    old = {"PV_MACRO_PATH": "/m"}
    new = launch.host_environment(old, modules, Path("/xml"), Path("/macros"))
    assert new["PV_MACRO_PATH"] == join(["/macros", "/m"])
    assert launch.host_environment(old, modules, Path("/xml"))["PV_MACRO_PATH"] == "/m"


@pytest.mark.parametrize("given", [["--script=mine.py"], ["--script", "mine.py"]])
def test_the_window_runs_our_script_and_then_the_users(given: list[str]) -> None:
    environment: dict[str, str] = {}
    first, *rest = launch.with_startup(["--dr", *given, "data.pvd"], environment)
    assert rest == ["--dr", "data.pvd"]
    assert environment == {launch.USER_SCRIPT: "mine.py"}
    name, _, script = first.partition("=")
    assert name == "--script"
    assert Path(script).is_file()
    assert launch.USER_SCRIPT in Path(script).read_text()


def test_the_window_without_a_script_of_the_user() -> None:
    environment: dict[str, str] = {}
    assert launch.with_startup(["--dr"], environment)[1:] == ["--dr"]
    assert environment == {}


def test_the_xml_folder_is_clean() -> None:
    """ParaView tries to load every file of a folder on PV_PLUGIN_PATH."""
    assert [path.suffix for path in launch.xml_folder().iterdir()] == [".xml"]


def test_the_macro_folder_holds_nothing_but_macros() -> None:
    """ParaView lists every .py file of a folder on PV_MACRO_PATH in its menu."""
    macros = [path.name for path in launch.macro_folder().glob("*.py")]
    assert sorted(macros) == ["metainr_plot.py", "metainr_side_by_side.py"]


def test_an_installed_package_finds_its_plugin_and_macros(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    root, source, site = Path(launch.__file__).parents[1], tmp_path / "source", tmp_path / "site"
    source.mkdir()
    shutil.copy(root / "pyproject.toml", source)
    for folder in ("metainr_core", "plugin", "xml"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / folder, source / folder, ignore=skip)
    build = "from setuptools import setup; setup()", "-q", "build_py", "--build-lib", str(site)
    subprocess.run([sys.executable, "-c", *build], cwd=source, capture_output=True, check=True)
    shutil.rmtree(source)
    show = "from metainr_core.launch import *; print(xml_folder(), macro_folder(), sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", show],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    macros = site / "metainr_views" / "macros"
    assert result.stdout.splitlines() == [str(site / "metainr_paraview" / "xml"), str(macros)]
    assert (macros / "metainr_side_by_side.py").is_file()
    assert (macros.parent / "side_by_side.py").is_file()


def test_main_starts_the_program_with_its_arguments(tmp_path: Path) -> None:
    version = f"python {sys.version_info.major}.{sys.version_info.minor}"
    report = 'echo "$@"; echo "$PV_PLUGIN_PATH"; echo "$PV_MACRO_PATH"'
    show = f'if [ "$1" = -c ]; then echo {version}; else {report}; fi'
    make_program(tmp_path, "pvpython", show)
    arguments = ["--paraview", str(tmp_path), "script.py", "--flag"]
    code = f"from metainr_core.launch import main; main('pvpython', {arguments})"
    root = Path(launch.__file__).parents[1]
    modules, others = [root, root / "plugin"], [Path("/other"), Path("/macros")]
    environment = launch.host_environment(os.environ, modules, *others)
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    plugins = f"{launch.xml_folder()}{os.pathsep}/other"
    macros = f"{launch.macro_folder()}{os.pathsep}/macros"
    assert result.stdout.splitlines() == ["script.py --flag", plugins, macros]
