"""Start ParaView with this package and its plugin on their paths.

    metainr paraview [ARGS...]
    metainr pvpython SCRIPT [ARGS...]
    metainr pvbatch  SCRIPT [ARGS...]
    metainr pvserver [ARGS...]

ParaView is the one named by `--paraview PATH` (first argument), else by the environment variable
PARAVIEW_HOME, else the one on the PATH. The plugin is loaded by the host itself (PV_PLUGIN_PATH),
so that scripts use `paraview.simple.MetaINRPretrain(...)` without a LoadPlugin.

On a cluster only the server needs PyTorch. There `metainr pvserver --server-port=11111` (without
mpiexec: a process uses all cores), on the desktop `metainr paraview --server-url=cs://NODE:11111`,
or any ParaView of the same version that has loaded MetaINR.xml. Files are those of the server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from .errors import LaunchError

PROGRAMS = ("paraview", "pvpython", "pvbatch", "pvserver")
XML_NAME = "MetaINR.xml"
_PATIENCE = 120  # seconds for ParaView to start; from a network drive it may take long
# The path of a script that the start-up script of ParaView's window runs.
USER_SCRIPT = "METAINR_SCRIPT"
# What the plugin imports. torch comes first: its folder is the virtual environment, which has to
# be before the system's modules (an older sympy there breaks torch.optim).
PACKAGES = ("torch", "safetensors", "tqdm", "metainr_core", "metainr_paraview")


def main(program: str, args: Sequence[str]) -> int:
    """Replace this process by a program of ParaView, so nothing is ever returned.

    program: one of `PROGRAMS`. args: its arguments, behind an optional `--paraview PATH`.
    Raises LaunchError when ParaView or the plugin is missing, or ParaView's Python is another.
    """
    home, rest = split_home(args, os.environ)
    executable = find_program(program, home)
    check_python(executable)
    folders = package_folders(PACKAGES)
    environment = host_environment(os.environ, folders, xml_folder(), macro_folder())
    if program == "paraview":
        rest = with_startup(rest, environment)
    sys.stdout.flush()
    os.execve(executable, [str(executable), *rest], environment)


def split_home(
    args: Sequence[str], environment: Mapping[str, str]
) -> tuple[Path | None, list[str]]:
    """Where ParaView is said to be (None: on the PATH), and the arguments for ParaView."""
    rest = list(args)
    if rest and rest[0].partition("=")[0] == "--paraview":
        _, equals, given = rest.pop(0).partition("=")
        if not equals and rest:
            given = rest.pop(0)
        if not given:
            raise LaunchError("--paraview: expected the folder where ParaView is installed")
        return Path(given), rest
    home = environment.get("PARAVIEW_HOME")
    return (Path(home) if home else None), rest


def find_program(program: str, home: Path | None) -> Path:
    """The executable: in `home` or its `bin` (on macOS `Contents/bin`), else on the PATH.

    `home` may also be a program of ParaView; then it is looked for beside that one.
    """
    if program not in PROGRAMS:
        raise LaunchError(f"program: got {program!r}, expected one of {', '.join(PROGRAMS)}")
    if home is None:
        found = shutil.which(program)
        cure = "install ParaView (Debian, Ubuntu: apt install paraview python3-paraview), or say "
        cure += "where it is: --paraview FOLDER or PARAVIEW_HOME=FOLDER"
        where = "the PATH"
    else:
        # The shell expands no ~ behind --paraview=.
        home = home.expanduser()
        if not home.exists():
            raise LaunchError(f"{home} does not exist; give the folder that holds ParaView's bin")
        folders = [home, home / "bin", home / "Contents" / "bin"]
        if home.is_file():
            folders = [home.parent, home.resolve().parent]
        found = shutil.which(program, path=os.pathsep.join(map(str, folders)))
        cure = "give the folder that holds ParaView's bin"
        where = " and ".join(map(str, dict.fromkeys(folders[:2])))
    if found is None:
        raise LaunchError(f"{program} is not in {where}; {cure}")
    return Path(found).absolute()


def check_python(executable: Path) -> None:
    """Check that the host runs the Python version that this environment is made for.

    Compiled modules (torch) load only into the Python version that they were built for.
    """
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = "pvpython" + executable.suffix
    # A link to a program may stand alone; what belongs to it is beside the program itself.
    beside = executable.with_name(name), executable.resolve().with_name(name)
    pvpython = next(filter(Path.exists, beside), None)
    if pvpython is None:
        print(
            f"metainr: which Python {executable} runs cannot be asked, as there is no pvpython"
            f" beside it; it has to be {ours}, the version of this environment",
            file=sys.stderr,
        )
        return
    theirs = host_python(pvpython)
    if theirs != ours:
        raise LaunchError(
            f"{pvpython} runs Python {theirs} but this environment has {ours}; make a virtual "
            f"environment with Python {theirs} and install metainr there"
        )


def host_python(pvpython: Path) -> str:
    """The `major.minor` version of the Python inside pvpython."""
    question = "import sys; print('python', '.'.join(map(str, sys.version_info[:2])))"
    # A program of its own, not one more process of the MPI run that this one may be part of.
    apart = ("PV_PLUGIN_PATH", "OMPI_", "PMIX_", "PMI_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(apart)}
    try:
        result = subprocess.run(
            [pvpython, "-c", question],
            capture_output=True, text=True, env=environment, timeout=_PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(
            f"{pvpython} does not start: {error}; check that ParaView works by itself"
        ) from error
    for line in result.stdout.splitlines():
        name, _, version = line.partition(" ")
        if name == "python":
            return version
    raise LaunchError(
        f"{pvpython} does not start: {(result.stderr or result.stdout).strip()[-300:]!r}; "
        "check that ParaView works by itself"
    )


def package_folders(packages: Iterable[str]) -> list[Path]:
    """The folders to put on the host's PYTHONPATH for it to import these packages.

    Looked up, not imported: the plugin's modules need VTK, which may be absent here.
    """
    folders: list[Path] = []
    for name in packages:
        folder = _package_folder(name).parent
        if folder not in folders:
            folders.append(folder)
    for folder in folders:
        # pip's vtk, unless it is the distribution's folder, which holds ParaView's VTK.
        if (folder / "vtkmodules").is_dir() and not (folder / "paraview").is_dir():
            raise LaunchError(
                f"{folder} holds pip's vtk, which cannot share a process with ParaView's; "
                "pip uninstall vtk, or install metainr in an environment without it"
            )
    return folders


def xml_folder() -> Path:
    """The folder that holds the plugin's XML and nothing else."""
    package = _package_folder("metainr_paraview")
    # Inside the installed package; beside plugin/ in the source tree.
    candidates = (package / "xml", package.parent.parent / "xml")
    for folder in candidates:
        if (folder / XML_NAME).is_file():
            return folder
    raise LaunchError(f"{XML_NAME} is not in {candidates[0]} or {candidates[1]}; reinstall metainr")


def macro_folder() -> Path:
    """The folder whose files ParaView lists in its menu Macros."""
    return _views_folder() / "macros"


def with_startup(args: Iterable[str], environment: dict[str, str]) -> list[str]:
    """Arguments of ParaView's window with our start-up script, which also runs the user's.

    ParaView runs only one ``--script``; the user's goes into ``environment`` (``USER_SCRIPT``).
    """
    rest, given = [], iter(args)
    for arg in given:
        name, equals, script = arg.partition("=")
        if name != "--script":
            rest.append(arg)
        elif script := script if equals else next(given, ""):
            environment[USER_SCRIPT] = script
    return [f"--script={_views_folder() / 'startup.py'}", *rest]


def _views_folder() -> Path:
    return _package_folder("metainr_paraview").parent / "metainr_views"


def host_environment(
    environment: Mapping[str, str],
    modules: Iterable[Path],
    plugins: Path,
    macros: Path | None = None,
) -> dict[str, str]:
    """A copy of the environment with our folders in front of what the user has set."""
    result = dict(environment)
    result["PYTHONPATH"] = _prepend(modules, result.get("PYTHONPATH"))
    result["PV_PLUGIN_PATH"] = _prepend([plugins], result.get("PV_PLUGIN_PATH"))
    if macros is not None:
        result["PV_MACRO_PATH"] = _prepend([macros], result.get("PV_MACRO_PATH"))
    return result


def _prepend(folders: Iterable[Path], old: str | None) -> str:
    return os.pathsep.join([*map(str, folders), *([old] if old else [])])


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError(
            f"{name} is not installed for {sys.executable}; install metainr there, "
            "or start from the environment that has it"
        )
    return Path(next(iter(spec.submodule_search_locations))).absolute()
