"""A series and its archive side by side, volume rendered: one camera, one transfer function.

    metainr pvpython examples/side_by_side.py SERIES.pvd RUN.minr PICTURE.png [TIME]

TIME: the encoded time step nearest to it (default: the first). Needs a display; without one, put
`xvfb-run -a` before the command.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from paraview import simple
from paraview.servermanager import Fetch
from vtkmodules.util.numpy_support import vtk_to_numpy

SIZE = 600  # pixels of each view


def main(series_path: str, archive_path: str, picture: str, moment: float | None = None) -> None:
    original = simple.PVDReader(FileName=series_path)
    decoded = simple.MetaINRReader(FileName=archive_path)
    decoded.UpdatePipeline()
    times = list(decoded.TimestepValues)
    moment = min(times, key=lambda t: abs(t - (times[0] if moment is None else moment)))
    for source in (original, decoded):
        source.UpdatePipeline(moment)
    array = Fetch(decoded).GetPointData().GetArray(0).GetName()
    views = [
        show(original, array, moment, "Original"),
        show(decoded, array, moment, f"Meta-INR: {psnr(original, decoded, array):.1f} dB"),
    ]
    color_like(original, array)
    place_cameras(views, Fetch(original).GetBounds())
    layout = simple.CreateLayout("side by side")
    layout.SplitHorizontal(0, 0.5)
    layout.AssignView(1, views[0])
    layout.AssignView(2, views[1])
    layout.SetSize(2 * SIZE, SIZE)
    simple.SaveScreenshot(picture, layout, ImageResolution=[2 * SIZE, SIZE])


def psnr(original: simple.Proxy, decoded: simple.Proxy, array: str) -> float:
    """In dB, over this time step's range."""
    a, b = (
        vtk_to_numpy(Fetch(proxy).GetPointData().GetArray(array)).astype(np.float64)
        for proxy in (original, decoded)
    )
    return 20 * math.log10((a.max() - a.min()) / math.sqrt(np.mean((a - b) ** 2)))


def show(source: simple.Proxy, array: str, moment: float, title: str) -> simple.Proxy:
    """A view with the volume and a title."""
    view = simple.CreateRenderView(ViewSize=[SIZE, SIZE], OrientationAxesVisibility=0)
    view.ViewTime = moment
    view.UseColorPaletteForBackground = 0
    view.Background = [0.08, 0.09, 0.12]
    shown = simple.Show(source, view)
    shown.SetRepresentationType("Volume")
    simple.ColorBy(shown, ("POINTS", array))
    text = simple.Show(simple.Text(Text=title), view)
    text.FontSize, text.Color = 24, [1.0, 1.0, 1.0]
    text.WindowLocation = "Upper Center"
    return view


def color_like(original: simple.Proxy, array: str) -> None:
    """Colours and opacity over the original's range, for both views."""
    low, high = original.PointData[array].GetRange()
    colors = simple.GetColorTransferFunction(array)
    colors.ApplyPreset("Inferno (matplotlib)", True)
    colors.RescaleTransferFunction(low, high)
    middle = low + 0.25 * (high - low)
    opacity = simple.GetOpacityTransferFunction(array)
    opacity.Points = [low, 0.0, 0.5, 0.0, middle, 0.05, 0.5, 0.0, high, 0.9, 0.5, 0.0]


def place_cameras(views: list[simple.Proxy], bounds: tuple[float, ...]) -> None:
    """The same slanting view of the whole volume for all."""
    low, high = np.array(bounds[0::2]), np.array(bounds[1::2])
    centre, size = (low + high) / 2, float(np.linalg.norm(high - low))
    for view in views:
        view.CameraFocalPoint = list(centre)
        view.CameraPosition = list(centre + size * np.array([1.36, 0.63, 1.0]))
        view.CameraViewUp = [0.0, 1.0, 0.0]
    simple.AddCameraLink(views[0], views[1], "side by side")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: metainr pvpython side_by_side.py SERIES.pvd RUN.minr PICTURE.png [TIME]")
    _, series_file, archive_file, picture_file, *rest = sys.argv
    main(series_file, archive_file, picture_file, float(rest[0]) if rest else None)
