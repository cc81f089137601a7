"""Compiling the library, once per machine and version."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCES = ("fused.cpp", "optimizer.h", "siren.h", "matrix.h", "simd.h")
# No -ffast-math, which would undo the rounding by which the sine finds its period.
_FLAGS = (
    *("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-ffp-contract=fast"),
    *("-shared", "-fPIC", "-pthread"),
)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None where it cannot be made; ``problem`` says why."""
    try:
        return ctypes.CDLL(str(_built()))
    except (OSError, subprocess.SubprocessError) as error:
        _problems.append(_describe(error))
        return None


def problem() -> str:
    """Why there is no library, in a few words; empty when there is one."""
    return "" if library() is not None else _problems[-1]


_problems: list[str] = []


def _describe(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if "error" in line]
        return f"{error.cmd[0]} could not compile it ({(lines or ['no message'])[0].strip()})"
    return str(error)


def _built() -> Path:
    """The library's file, compiled if it is not there. Raises OSError, SubprocessError."""
    sources = [Path(__file__).with_name(name) for name in _SOURCES]
    compiler = _compiler()
    identity = hashlib.sha256(" ".join([compiler, *_FLAGS, _processor()]).encode())
    for source in sources:
        identity.update(source.read_bytes())
    path = _cache_folder() / f"fused-{identity.hexdigest()[:16]}.so"
    if not path.exists():
        _compile(compiler, sources[0], path)
    return path


def _compile(compiler: str, source: Path, path: Path) -> None:
    # Under another name first: other processes must not load half a file.
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".so")
    os.close(handle)
    try:
        command = [compiler, *_FLAGS, str(source), "-o", temporary]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        os.chmod(temporary, 0o700)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _compiler() -> str:
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise OSError("no C++ compiler; install g++")
    return found


def _cache_folder() -> Path:
    """A folder that only this user can write to: what lies in it is run."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "metainr"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OSError(f"{folder} can be written to by others; give it mode 700")
    return folder


def _processor() -> str:
    """What the compiler's ``native`` stands for."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
