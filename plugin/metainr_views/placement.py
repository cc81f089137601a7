"""Where views are in a layout, and from where they show a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from paraview import servermanager, simple, smtrace
from paraview.modules.vtkRemotingServerManager import vtkSMLink

SLANT = np.array([1.36, 0.63, 1.0])  # where the camera is, seen from a cube
FILLED = 0.74  # share of a view's height that is for the volume: above is text, below a bar
WIDE = 1.7  # width over height of the volume on the screen from which views are stacked


def lay_out(
    name: str, views: Sequence[Any], bounds: Sequence[float], in_window: bool
) -> tuple[Any, tuple[int, int]]:
    """Puts the views beside each other, of a wide volume above each other.

    In the GUI's window that says how large a view is. Returns the layout and the pixels that suit
    it.
    """
    low, high = np.array(bounds[0::2]), np.array(bounds[1::2])
    axes = camera_axes(high - low)
    width, height = (np.abs(axes[:2]) * (high - low)).sum(axis=1)
    stacked = width > WIDE * height
    across = 1000 if stacked else 600
    down = int(np.clip(across * height / width / 0.85, 0.35 * across, 1.1 * across)) // 4 * 4
    layout = make_layout(name)
    split = layout.SplitVertical if stacked else layout.SplitHorizontal
    split(0, 1 / 3)
    split(2, 1 / 2)
    for place, view in zip((1, 5, 6), views, strict=True):
        layout.AssignView(place, view)
    pixels = (across, 3 * down) if stacked else (3 * across, down)
    if not in_window:
        layout.SetSize(*pixels)
    for view in views:
        place_camera(view, low, high, axes)
    return layout, pixels


def make_layout(name: str) -> Any:
    """A new tab. A Python trace that goes on would only find it, and not make it."""
    if smtrace.Trace.Output is not None:
        smtrace.CallFunction("CreateLayout", name)
    return simple.CreateLayout(name)


def link_cameras(name: str, views: Sequence[Any]) -> None:
    """What is done to the camera of one view is done to all.

    One link of all: with links of pairs, drawing one view would draw the others many times.
    """
    link = servermanager.vtkSMCameraLink()
    for view in views:
        for direction in (vtkSMLink.INPUT, vtkSMLink.OUTPUT):
            link.AddLinkedProxy(view.SMProxy, direction)
    servermanager.ProxyManager().RegisterLink(name, link)


def camera_axes(sides: np.ndarray) -> np.ndarray:
    """Right, up and towards the camera (rows), for a volume of such sides: a slanting view, the
    more along the shortest side the shorter it is."""
    towards = SLANT * sides.max() / np.maximum(sides, 1e-3 * sides.max())
    towards /= np.linalg.norm(towards)
    up = np.eye(3)[2 if abs(towards[1]) > 0.9 else 1]
    right = np.cross(up, towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def place_camera(view: Any, low: np.ndarray, high: np.ndarray, axes: np.ndarray) -> None:
    """As near as it may be for the whole volume to be seen, and the text above and below it."""
    aspect = view.ViewSize[0] / view.ViewSize[1]
    middle = (low + high) / 2
    corners = np.stack(np.meshgrid(*zip(low - middle, high - middle, strict=True)), -1)
    x, y, depth = axes @ corners.reshape(8, 3).T
    tangent = np.tan(np.radians(view.CameraViewAngle / 2))
    sideways, upright = np.abs(x) / (0.94 * aspect * tangent), np.abs(y) / (FILLED * tangent)
    distance = float((np.maximum(sideways, upright) + depth).max())
    view.CameraFocalPoint = list(middle)
    view.CameraPosition = list(middle + distance * axes[2])
    view.CameraViewUp = list(axes[1])
    view.CenterOfRotation = list(middle)
