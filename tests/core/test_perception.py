"""LPIPS of renderings, with the real package and a backbone of random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
import torch

from metainr_core import perception, perceptual
from metainr_core.errors import LpipsError, RenderingError
from metainr_core.grid import Grid
from metainr_core.perception import RenderedLpips
from metainr_core.series import Range

perceptual._package()  # makes torchvision importable beside the CPU build of torch

GRID = Grid((6, 5, 4))
RANGE = Range((0.0,), (1.0,))


def volume(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((*GRID.shape, 1), np.float32)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "squeeze.pth"
    models: Any = sys.modules["torchvision.models"]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.save(models.squeezenet1_1(weights=None).state_dict(), path)
    return path


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Pictures made without a display; the list has the renderers that were asked for."""
    made: list[Any] = []

    class Painter:
        def __init__(self, grid: Grid, *, value_range: tuple[float, float]):
            made.append((grid, value_range))

        def __call__(self, values: np.ndarray) -> np.ndarray:
            cells = (255 * np.linalg.norm(values[0], axis=2).clip(0, 1)).astype(np.uint8)
            return np.stack(3 * [np.kron(cells, np.ones((16, 16), np.uint8))], axis=2)

    monkeypatch.setattr(perception, "Renderer", Painter)
    return made


def test_equal_volumes_look_alike(painted: list[Any], backbone: Path) -> None:
    measure = RenderedLpips("squeeze", backbone, RANGE)
    assert measure(volume(0), volume(0), GRID) == 0
    found = measure(volume(0), volume(1), GRID)
    assert isinstance(found, float)
    assert found > 0
    assert painted == [(GRID, (0.0, 1.0))]  # one renderer for all
    measure(np.zeros((8, 8, 8, 1)), np.zeros((8, 8, 8, 1)), Grid((8, 8, 8)))
    assert len(painted) == 2


def test_vectors_are_drawn_by_their_length(painted: list[Any], backbone: Path) -> None:
    measure = RenderedLpips("squeeze", backbone, Range((-3.0, 0.0), (1.0, 4.0)))
    measure(np.zeros((*GRID.shape, 2)), np.zeros((*GRID.shape, 2)), GRID)
    assert painted == [(GRID, (0.0, 5.0))]


def test_without_weights_the_cell_says_so(
    painted: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    found = RenderedLpips("squeeze", None, RANGE)(volume(0), volume(1), GRID)
    assert isinstance(found, str)
    assert found.startswith("unavailable: ")
    assert "squeezenet1_1-b8a52dc0.pth" in found
    assert str(tmp_path) in found
    # Asked for by name it is bad input.
    with pytest.raises(LpipsError, match=r"none\.pth does not exist"):
        RenderedLpips("squeeze", tmp_path / "none.pth", RANGE)


def test_without_a_display_the_cell_says_so(
    backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RenderingError("no display")

    monkeypatch.setattr(perception, "Renderer", broken)
    measure = RenderedLpips("squeeze", backbone, RANGE)
    assert measure(volume(0), volume(1), GRID) == "unavailable: no display"
