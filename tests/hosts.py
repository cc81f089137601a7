"""For tests that render: a series in files, and programs of ParaView on a display of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from metainr_core import launch
from metainr_core.grid import Grid

ROOT = Path(__file__).parents[1]


def require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


def environment() -> dict[str, str]:
    """What `metainr paraview` would set."""
    folders = launch.package_folders(launch.PACKAGES)
    return launch.host_environment(os.environ, folders, launch.xml_folder(), launch.macro_folder())


@contextmanager
def display() -> Iterator[str]:
    """An X server of our own: `xvfb-run -a` may pick a number that another one has just taken."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x1000x24"]
    server = subprocess.Popen(
        # It would reset itself when a client leaves, and fail one that comes just then.
        [*command, "-nolisten", "tcp", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb does not start"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def pvserver(log: Path, variables: Mapping[str, str]) -> Iterator[int]:
    """A pvserver that serves one client: its port.

    ``log``: a file for what it prints. ``variables``: its environment.
    """
    with log.open("w") as file, socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen(
            ["pvserver", f"--server-port={port}"], env=variables, stdout=file, stderr=file
        )
        try:
            for _ in range(300):
                if "Connection URL" in log.read_text():
                    break
                time.sleep(0.1)
            yield port
        finally:
            # It ends when its client leaves; a signal just then can lock it up for ever.
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def write_series(folder: Path, volumes: Sequence[np.ndarray], times: Sequence[float]) -> Path:
    """A ``.pvd`` of point data ``speed``; each volume ``(nz, ny, nx)``."""
    from metainr_core.vti import make_image, write_image, write_pvd

    folder.mkdir(parents=True)
    grid = Grid(volumes[0].shape[::-1])
    names = [f"step_{number}.vti" for number in range(len(volumes))]
    for name, values in zip(names, volumes, strict=True):
        image = make_image(values[..., None].astype(np.float32), grid, "speed")
        write_image(image, folder / name)
    write_pvd(folder / "series.pvd", names, times)
    return folder / "series.pvd"


def blob(x: float, size: int = 24) -> np.ndarray:
    """``(nz, ny, nx)``: a Gaussian of height 1 at `x` (0 to 1), half way up y and z."""
    axis = np.linspace(0, 1, size)
    z, y, across = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.exp(-((across - x) ** 2 + (y - 0.5) ** 2 + (z - 0.5) ** 2) / 0.03)
