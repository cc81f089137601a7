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
import warnings
from pathlib import Path

from ..errors import MetaINRWarning

_SOURCES = ("fused.cpp", "decode.h", "optimizer.h", "siren.h", "matrix.h", "simd.h")
# No -ffast-math, which would undo the rounding by which the sine finds its period.
_FLAGS = (
    *("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-ffp-contract=fast"),
    "-fno-strict-aliasing",  # numbers are stored as floats and loaded as units of 32 bits
    *("-shared", "-fPIC", "-pthread"),
)


class _UnusableCacheError(Exception):
    """The cache folder cannot be made or written to."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None, after a warning, where it cannot be made."""
    try:
        try:
            return _loaded(_cache_folder())
        except _UnusableCacheError as error:
            message = f"{error}, so this program compiles the fast path for itself alone"
            cure = "set XDG_CACHE_HOME to a writable folder to keep it"
            warnings.warn(f"{message}; {cure}", MetaINRWarning, stacklevel=2)
            # Nobody else can write to it, and a loaded file needs no name.
            with tempfile.TemporaryDirectory(prefix="metainr-") as folder:
                return _loaded(Path(folder))
    except (_UnusableCacheError, OSError, ValueError, subprocess.SubprocessError) as error:
        message = f"this will be slower than it could be: {_describe(error)}"
        warnings.warn(message, MetaINRWarning, stacklevel=2)
        return None


def _describe(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if "error" in line]
        first = (lines or ["no message"])[0].strip()
        return f"{error.cmd[0]} could not compile the fast path ({first})"
    return str(error)


def _loaded(folder: Path) -> ctypes.CDLL:
    path = _built(folder)
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        # Cut short, or made on another system with the same home folder.
        path.unlink()
        return ctypes.CDLL(str(_built(folder)))


def _built(folder: Path) -> Path:
    """The library's file, compiled if it is not there. Raises OSError, SubprocessError."""
    sources = [Path(__file__).with_name(name) for name in _SOURCES]
    compiler = _compiler()
    system = platform.platform() + "".join(platform.libc_ver())
    identity = hashlib.sha256(" ".join([compiler, *_FLAGS, system, _processor()]).encode())
    for source in sources:
        identity.update(source.read_bytes())
    path = folder / f"fused-{identity.hexdigest()[:16]}.so"
    if not path.exists():
        _compile(compiler, sources[0], path)
    return path


def _compile(compiler: str, source: Path, path: Path) -> None:
    # Under another name first: other processes must not load half a file.
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".so")
    except OSError as error:
        raise _unusable(path.parent, error) from error
    os.close(handle)
    try:
        command = [compiler, *_FLAGS, str(source), "-o", temporary]
        english = {**os.environ, "LC_ALL": "C"}
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=300, env=english
        )
        os.chmod(temporary, 0o700)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _compiler() -> str:
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise OSError("there is no C++ compiler to build the fast path; install g++")
    return found


def _cache_folder() -> Path:
    """A folder that only this user can write to: what lies in it is run."""
    if not hasattr(os, "getuid"):
        raise OSError("the fast path is built on Linux and macOS only")
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise OSError("there is no home folder; set XDG_CACHE_HOME") from error
    folder = root / "metainr"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise _unusable(folder, error) from error
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OSError(f"{folder} is not this user's alone; give it mode 700, or set XDG_CACHE_HOME")
    return folder


def _unusable(folder: Path, error: OSError) -> _UnusableCacheError:
    return _UnusableCacheError(f"cache folder {folder} cannot be used ({error.strerror or error})")


def _processor() -> str:
    """What the compiler's ``native`` stands for."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
