"""Pictures are drawn in a process of their own, which has a display."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.errors import RenderingError, SettingsError
from metainr_core.grid import Grid
from metainr_core.rendering import Renderer, View

core = pytest.importorskip("vtkmodules.vtkRenderingCore")

ROOT = Path(__file__).parents[2]
WHITE = 255


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The pictures that drive_rendering.py made, and in ``refusals`` its errors' messages."""
    display = [] if os.environ.get("DISPLAY") else ["xvfb-run", "-a"]
    if display and shutil.which("xvfb-run") is None:
        pytest.skip("neither a display nor xvfb-run")
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    script = Path(__file__).with_name("drive_rendering.py")
    result = subprocess.run(
        [*display, sys.executable, str(script), str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return {**np.load(path), "refusals": json.loads(result.stdout.splitlines()[-1])}


def test_a_picture_is_rows_of_colours(drawn: dict[str, Any]) -> None:
    assert drawn["wave"].shape == (64, 96, 3)
    assert drawn["wave"].dtype == np.uint8


def test_the_whole_volume_is_seen(drawn: dict[str, Any]) -> None:
    for name in ("wave", "noise", "layer", "long"):
        picture = drawn[name]
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (edge == WHITE).all(), name
        covered = np.argwhere((picture != WHITE).any(axis=2))
        # It fills the picture in one direction, of which there is no telling which.
        reach = np.ptp(covered, axis=0) / np.subtract(picture.shape[:2], 1)
        assert reach.max() > 0.8, name


def test_equal_volumes_give_equal_pictures(drawn: dict[str, Any]) -> None:
    for name in ("first", "third", "fourth"):
        np.testing.assert_array_equal(drawn[name], drawn["noise"])
    np.testing.assert_array_equal(drawn["second"], drawn["wave"])
    assert (drawn["wave"] != drawn["noise"]).mean() > 0.1


def test_another_grid_is_seen_with_the_same_camera(drawn: dict[str, Any]) -> None:
    difference = np.abs(drawn["fine"].astype(int) - drawn["wave"])
    assert difference.mean() < 3
    # Half of the volume is where that half was, not enlarged to fill the picture.
    untouched = (drawn["part"] == WHITE).all(axis=2)
    whole = (drawn["wave"] != WHITE).any(axis=2)
    assert 0.2 < (untouched & whole).sum() / whole.sum() < 0.8
    assert untouched[~whole].all()


def test_of_vectors_the_length_is_drawn(drawn: dict[str, Any]) -> None:
    np.testing.assert_array_equal(drawn["vectors"], drawn["lengths"])


def test_values_beyond_the_range_look_as_its_ends(drawn: dict[str, Any]) -> None:
    np.testing.assert_array_equal(drawn["beyond"], drawn["clipped"])


@pytest.mark.parametrize("name", ["reversed", "started", "cells", "turned"])
def test_one_volume_described_otherwise_looks_the_same(drawn: dict[str, Any], name: str) -> None:
    assert np.abs(drawn[name].astype(int) - drawn["noise"]).max() <= 1


def test_x_is_to_the_right_and_y_is_up(drawn: dict[str, Any]) -> None:
    rows, columns = np.nonzero((drawn["corner"] != WHITE).any(axis=2))
    assert rows.max() < 32 < columns.min()


def test_colour_and_opacity_are_those_of_the_transfer_function(drawn: dict[str, Any]) -> None:
    """A cube of one value, 0.05 of the range: opacity 0.05 per tenth of its diagonal."""
    alpha = 1 - (1 - 0.05) ** (1 / (0.1 * np.sqrt(3)))
    start, end = np.array([0.026, 0.019, 0.106]), np.array([0.190, 0.039, 0.361])
    color = start + 0.05 / 0.125 * (end - start)
    expected = 255 * (alpha * color + 1 - alpha)
    np.testing.assert_allclose(drawn["even"][31:33, 31:33].mean(axis=(0, 1)), expected, atol=4)


def test_a_constant_field_is_drawn_as_its_ranges_lowest_value(drawn: dict[str, Any]) -> None:
    assert (drawn["constant"] == WHITE).all()


def test_wrong_volumes_are_refused(drawn: dict[str, Any]) -> None:
    assert "(9, 12, 14, 1); expected (10, 12, 14, 'components')" in drawn["refusals"]["shape"]
    assert "not all finite" in drawn["refusals"]["hole"]


@pytest.mark.parametrize("display", [None, ":4242"])
def test_without_a_display_there_is_a_cure(
    monkeypatch: pytest.MonkeyPatch, display: str | None
) -> None:
    pytest.importorskip("vtkmodules.vtkRenderingOpenGL2")
    if not core.vtkRenderWindow().IsA("vtkXOpenGLRenderWindow"):
        pytest.skip("this VTK draws without X")
    if display is None:
        monkeypatch.delenv("DISPLAY", raising=False)
    else:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(RenderingError, match=f"{display or 'DISPLAY'}.*put `xvfb-run -a`"):
        Renderer(Grid((4, 4, 4)), value_range=(0.0, 1.0))


@pytest.mark.parametrize("value_range", [(1.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_a_wrong_range_is_refused(value_range: tuple[float, float]) -> None:
    with pytest.raises(SettingsError, match="value range"):
        Renderer(Grid((4, 4, 4)), value_range=value_range)


def test_a_wrong_size_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"size is \(0, 5\)"):
        Renderer(Grid((4, 4, 4)), value_range=(0.0, 1.0), size=(0, 5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": (0.0, 2.0, 0.0)}, "another axis"),
        ({"direction": (0.0, 0.0, 0.0)}, "another axis"),
        ({"up": (np.nan, 1.0, 0.0)}, "three finite"),
        ({"background": (2.0, 0.0, 0.0)}, "0 to 1"),
    ],
)
def test_a_wrong_view_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        View(**settings)
