"""The script's pictures and films, looked at by their pixels, and what it says of bad input."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_core.vtk_modules import vtk
from tests.hosts import ROOT, blob, display, environment, require, write_series

TIMES = (1.0, 2.0, 4.0)
BACKGROUND = np.round(np.array([0.08, 0.09, 0.12]) * 255)


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    require("pvpython", "Xvfb")
    with display() as name:
        yield name


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    volumes = [blob(x) for x in (0.3, 0.5, 0.7)]
    return write_series(tmp_path_factory.mktemp("data") / "original", volumes, TIMES)


def run(screen: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    script = ROOT / "examples" / "side_by_side.py"
    return subprocess.run(
        ["pvpython", script, *map(str, arguments)],
        env={**environment(), "DISPLAY": screen},
        capture_output=True,
        text=True,
        timeout=240,
    )


def panels(path: Path) -> list[np.ndarray]:
    """The three views of a picture, each ``(height, width, 3)``, first row at the top."""
    reader = vtk("vtkIOImage").vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    values = vtk("util.numpy_support").vtk_to_numpy(image.GetPointData().GetScalars())
    pixels = values.reshape(height, width, -1)[::-1, :, :3].astype(float)
    third = width // 3
    return [pixels[:, start + 4 : start + third - 4] for start in (0, third, 2 * third)]


def volume(panel: np.ndarray) -> np.ndarray:
    """The part of a view between the text and the colours' bar."""
    height = len(panel)
    return panel[int(0.17 * height) : int(0.82 * height)]


def drawn(panel: np.ndarray) -> np.ndarray:
    """Where a view is not its background."""
    return np.abs(volume(panel) - BACKGROUND).max(axis=2) > 12


def test_each_panel_shows_its_own(screen: str, original: Path, tmp_path: Path) -> None:
    """The reconstruction has too much at small x and too little at large x."""
    errors = 0.2 * (blob(0.1) - blob(0.9))
    volumes = [blob(x) + errors for x in (0.3, 0.5, 0.7)]
    other = write_series(tmp_path / "other", volumes, TIMES)
    picture = tmp_path / "new" / "picture.png"
    result = run(screen, original, other, picture, "--time", 1.8)
    assert result.returncode == 0, result.stderr
    first, second, difference = panels(picture)
    assert drawn(first).mean() > 0.02
    assert drawn(first)[:, ::-1].mean() == pytest.approx(drawn(first).mean())
    apart = np.abs(volume(first) - volume(second)).max(axis=2)
    assert (apart > 12).mean() > 0.005, "reconstruction looks like the original"
    inside = drawn(difference)
    assert inside.mean() > 0.01
    red, _, blue = np.moveaxis(volume(difference), 2, 0)
    middle = inside.shape[1] // 2
    tint = np.where(inside, red - blue, 0)
    assert tint[:, :middle].sum() > 1000, "too much is not red"
    assert tint[:, middle:].sum() < -1000, "too little is not blue"


def test_an_identical_reconstruction_gives_a_flat_difference(
    screen: str, original: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    result = run(screen, original, original, picture)
    assert result.returncode == 0, result.stderr
    first, second, difference = panels(picture)
    assert drawn(first).mean() > 0.02
    # The views may be a pixel apart in width.
    apart = np.abs(volume(first) - volume(second)).max(axis=2)
    assert (apart > 40).mean() < 0.005
    assert not drawn(difference).any()


def test_an_animation_has_a_frame_for_each_common_time(
    screen: str, original: Path, tmp_path: Path
) -> None:
    other = write_series(tmp_path / "other", [blob(0.32), blob(0.68)], (1.0, 4.0))
    frames = tmp_path / "frames.png"
    result = run(screen, original, other, frames, "--animation", "--isovalue", 0.4)
    assert result.returncode == 0, result.stderr
    found = sorted(tmp_path.glob("frames*.png"))
    assert [f.name for f in found] == ["frames.0000.png", "frames.0001.png"]
    early, late = (panels(frame) for frame in found)
    for before, after in zip(early, late, strict=True):
        columns = [np.nonzero(drawn(panel).any(axis=0))[0] for panel in (before, after)]
        assert columns[1].mean() > columns[0].mean() + 50, "the surface has not moved"
        assert np.array_equal(before[-60:], after[-60:]), "the colours' range has changed"


def test_a_film_has_a_frame_for_each_common_time(
    screen: str, original: Path, tmp_path: Path
) -> None:
    film = tmp_path / "film.avi"
    result = run(screen, original, original, film, "--isosurfaces")
    assert result.returncode == 0, result.stderr
    data = film.read_bytes()
    assert data[:4] == b"RIFF"
    header = data.index(b"avih") + 8
    assert struct.unpack_from("<I", data, header + 16) == (len(TIMES),)
    width, height = struct.unpack_from("<II", data, header + 32)
    assert width > 2 * height


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder without files")
def test_a_picture_that_cannot_be_written_is_an_error(screen: str, original: Path) -> None:
    result = run(screen, original, original, "/proc/x.png")
    assert result.returncode != 0
    assert "side_by_side.py: error: /proc/x.png could not be written" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ORIGINAL", "ORIGINAL", "x.mp4"], "x.mp4: expected a picture (.png .jpg .tif .bmp"),
        (["ORIGINAL", "ORIGINAL", "FOLDER"], "folder.png is a folder; give the name of a file"),
        (["ORIGINAL", "ORIGINAL", "DAMAGED/x.png"], "damaged.minr is a file, not a folder"),
        (["ORIGINAL", "absent.minr", "x.png"], "absent.minr does not exist"),
        (["ORIGINAL", "x.vtk", "x.png"], "x.vtk: expected a .pvd or a .minr file"),
        (["ORIGINAL", "LATER", "x.png"], "no time is in both: "),
        (
            ["ORIGINAL", "ORIGINAL", "x.png", "--array", "heat"],
            "array 'heat': series.pvd has speed",
        ),
        (["ORIGINAL", "DAMAGED", "x.png"], "ERROR: Meta-INR Reader: "),
    ],
)
def test_bad_input_gives_one_line(
    screen: str, original: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    later = write_series(tmp_path / "later", [blob(0.5)] * 2, (7.0, 8.0))
    damaged = tmp_path / "damaged.minr"
    damaged.write_text("{}")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    files = {
        "ORIGINAL": original,
        "LATER": later,
        "DAMAGED": damaged,
        "DAMAGED/x.png": damaged / "x.png",
        "FOLDER": folder,
        "x.png": tmp_path / "x.png",
    }
    result = run(screen, *(files.get(argument, argument) for argument in arguments))
    assert result.returncode == 2, result.stderr
    lines = [x for x in result.stderr.splitlines() if x and not x.startswith(("usage:", "    "))]
    assert len(lines) == 1, result.stderr
    assert message in lines[0]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x.png").exists()
