"""Volume rendering to an array of pixels, by VTK off screen: what an image metric compares."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import RenderingError, SettingsError
from .grid import Grid
from .metrics import magnitude
from .vti import make_image
from .vtk_modules import vtk

# Position in the value range, red, green, blue: matplotlib's "inferno" without its ends, of which
# the one is hardly seen on white and the other has no hue.
_COLORS = (
    (0.000, 0.026, 0.019, 0.106),
    (0.125, 0.190, 0.039, 0.361),
    (0.250, 0.379, 0.076, 0.433),
    (0.375, 0.560, 0.141, 0.410),
    (0.500, 0.736, 0.216, 0.330),
    (0.625, 0.878, 0.332, 0.212),
    (0.750, 0.967, 0.509, 0.069),
    (0.875, 0.986, 0.721, 0.112),
    (1.000, 0.946, 0.937, 0.459),
)
# Position in the value range, opacity of a tenth of the volume's diagonal. Most values of many
# fields are in the lowest fifth.
_OPACITY = ((0.0, 0.0), (0.05, 0.05), (0.2, 0.4), (1.0, 0.98))
_OPACITY_LENGTH = 0.1
_VIEW_ANGLE = 30.0  # degrees from top to bottom
_MARGIN = 1.04


@dataclass(frozen=True)
class View:
    """From where a volume is seen; the distance is such that the whole of it just fits.

    ``direction``: from the volume's centre to the camera. ``up``: what is up in the picture.
    Both are vectors of any length in world axes. ``background``: red, green, blue, 0 to 1.
    """

    direction: tuple[float, float, float] = (0.7, 0.5, 1.0)
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("direction", "up", "background"):
            values = getattr(self, name)
            if len(values) != 3 or not np.all(np.isfinite(values)):
                raise SettingsError(f"view {name} is {values}; expected three finite numbers")
        if np.linalg.norm(np.cross(self.direction, self.up)) == 0:
            raise SettingsError(
                f"view up {self.up} is along direction {self.direction}; expected another axis"
            )
        if min(self.background) < 0 or max(self.background) > 1:
            raise SettingsError(f"view background is {self.background}; expected 0 to 1")

    def axes(self) -> np.ndarray:
        """Right, up and towards the camera in world axes: rows of length 1."""
        towards = np.divide(self.direction, np.linalg.norm(self.direction))
        right = np.cross(self.up, towards)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(towards, right), towards])


class Renderer:
    """Renders volumes with one camera, one transfer function and one background.

    grid: what the camera sees the whole of. value_range: lowest and highest value (magnitude, of
    vectors) of the colours and the opacity; values beyond are drawn as the nearer end. size: width
    and height in pixels. Making one takes about as long as a small picture: keep it for a series.

    Raises RenderingError where VTK cannot draw, and SettingsError for bad arguments.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        value_range: tuple[float, float],
        size: tuple[int, int] = (512, 512),
        view: View | None = None,
    ):
        low, high = (float(value) for value in value_range)
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise SettingsError(f"value range is {low:g} to {high:g}; expected finite, increasing")
        if len(size) != 2 or min(size) < 1:
            raise SettingsError(f"picture size is {tuple(size)}; expected width and height")
        # A constant field is drawn as the lowest value of a range of width 1.
        self._range = (low, high if high > low else low + 1.0)
        self._grid = grid
        self._size = (int(size[0]), int(size[1]))
        view = view or View()
        corners = _corners(grid)
        self._diagonal = float(np.linalg.norm(np.ptp(corners, axis=0)))
        core = vtk("vtkRenderingCore")
        self._window = _window(self._size)
        self._scene = core.vtkRenderer()
        self._scene.SetBackground(view.background)
        self._scene.SetActiveCamera(_camera(corners, view, self._size))
        self._window.AddRenderer(self._scene)
        self._window.Render()  # makes the OpenGL context, which knows its limits while current
        texture = vtk("vtkRenderingOpenGL2").vtkTextureObject
        self._longest = texture.GetMaximumTextureSize3D(self._window)
        self._properties = _transfer_function(*self._range)
        self._properties.SetScalarOpacityUnitDistance(_OPACITY_LENGTH * self._diagonal)

    def __call__(self, values: np.ndarray, grid: Grid | None = None) -> np.ndarray:
        """The picture of ``values`` ``(nz, ny, nx, components)``: uint8 (height, width, 3).

        grid: theirs, when it is not that of the renderer. Cell values are drawn from the centre of
        the first to that of the last cell.
        """
        grid = grid or self._grid
        if values.ndim != 4 or values.shape[:3] != grid.shape:
            raise SettingsError(
                f"values to render have shape {values.shape};"
                f" expected {(*grid.shape, 'components')}, as the grid has"
            )
        scalars = magnitude(np.asarray(values, np.float32))
        if not np.isfinite(scalars).all():
            raise SettingsError("values to render are not all finite; replace those that are not")
        # VTK tabulates the transfer function over the values that there are: outliers coarsen it.
        image, matrix = _upright(np.clip(scalars, *self._range), grid)
        volume = vtk("vtkRenderingCore").vtkVolume()
        volume.SetProperty(self._properties)
        volume.SetUserMatrix(matrix)
        volume.SetMapper(self._mapper(image, grid))
        self._scene.AddVolume(volume)
        self._scene.ResetCameraClippingRange()
        try:
            self._window.Render()
            return self._pixels()
        finally:
            self._scene.RemoveVolume(volume)

    def _mapper(self, image: Any, grid: Grid) -> Any:
        # It takes the GPU mapper, or casts rays on the CPU where OpenGL is too old for that.
        mapper = vtk("vtkRenderingVolumeOpenGL2").vtkSmartVolumeMapper()
        mapper.SetInputData(image)
        if max(image.GetDimensions()) > self._longest:
            mapper.SetRequestedRenderModeToRayCast()  # the GPU mapper would end the process
        # Steps that adapt to the time a rendering took would change the picture.
        mapper.AutoAdjustSampleDistancesOff()
        mapper.InteractiveAdjustSampleDistancesOff()
        mapper.SetSampleDistance(self._diagonal / max(512.0, float(np.linalg.norm(grid.dims))))
        return mapper

    def _pixels(self) -> np.ndarray:
        grabber = vtk("vtkRenderingCore").vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.SetInputBufferTypeToRGB()
        grabber.ReadFrontBufferOff()
        grabber.ShouldRerenderOff()
        grabber.Update()
        scalars = grabber.GetOutput().GetPointData().GetScalars()
        width, height = self._size
        pixels = vtk("util.numpy_support").vtk_to_numpy(scalars).reshape(height, width, 3)
        return pixels[::-1].copy()  # VTK's first row is the lowest


def render(
    values: np.ndarray,
    grid: Grid,
    *,
    value_range: tuple[float, float],
    size: tuple[int, int] = (512, 512),
    view: View | None = None,
) -> np.ndarray:
    """One picture of ``values`` ``(nz, ny, nx, components)``: uint8 (height, width, 3).

    See `Renderer`, which is faster for several pictures, for the arguments.
    """
    return Renderer(grid, value_range=value_range, size=size, view=view)(values)


def _window(size: tuple[int, int]) -> Any:
    vtk("vtkRenderingOpenGL2")  # registers the classes that draw
    window = vtk("vtkRenderingCore").vtkRenderWindow()
    # VTK's windows for X end the process without a display; those of EGL and OSMesa need none.
    if window.IsA("vtkXOpenGLRenderWindow") and not _has_display():
        display = os.environ.get("DISPLAY")
        found = f"cannot open the display {display!r}" if display else "has no display (DISPLAY)"
        raise RenderingError(f"VTK {found} to render with; put `xvfb-run -a` before the command")
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    return window


def _has_display() -> bool:
    display = os.environ.get("DISPLAY")
    if not display:
        return False
    try:
        _connect(display)
    except ConnectionError:
        return False
    except OSError:
        return True  # without Xlib there is no way to ask
    return True


@functools.cache
def _connect(display: str) -> object:
    """Connect to the X server for the rest of the process. Raises ConnectionError.

    An X server that loses its last client begins anew, and refuses clients meanwhile: were this
    connection closed, VTK's own, a moment later, would fail now and then, which ends the process.
    """
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XOpenDisplay.argtypes = [ctypes.c_char_p]
    connection = x11.XOpenDisplay(display.encode())
    if connection is None:
        raise ConnectionError(display)
    return connection


def _corners(grid: Grid) -> np.ndarray:
    """The eight corners of the region that `_upright` fills, in the world: ``(8, 3)``."""
    origin, spacing = _placement(grid)
    last = np.multiply(spacing, np.maximum(grid.dims, 2)) - spacing
    steps = np.array(list(np.ndindex(2, 2, 2)))
    local = np.subtract(origin, grid.origin) + steps * last
    return np.asarray(grid.origin) + local @ np.reshape(grid.direction, (3, 3)).T


def _placement(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Lowest position along the grid's own axes, and spacing, of the values as drawn."""
    spacing = np.abs(grid.spacing)
    origin = np.array(grid.bounds[0::2])
    # One value is drawn as two: constant across its thickness.
    return np.where(np.equal(grid.dims, 1), origin - spacing / 2, origin), spacing


def _upright(scalars: np.ndarray, grid: Grid) -> tuple[Any, Any]:
    """The values on points of an image along the world's axes, and the matrix that turns it.

    Not every mapper knows direction matrices, negative spacing, cell values and single layers.
    """
    turned = [axis for axis in range(3) if grid.spacing[2 - axis] < 0]
    scalars = np.flip(scalars, turned)
    for axis in range(3):
        if scalars.shape[axis] == 1:
            scalars = np.repeat(scalars, 2, axis)
    origin, spacing = _placement(grid)
    local = np.subtract(origin, grid.origin)
    points = Grid(scalars.shape[::-1], spacing=tuple(spacing), origin=tuple(local))
    matrix = vtk("vtkCommonMath").vtkMatrix4x4()
    for row, (direction, shift) in enumerate(
        zip(np.reshape(grid.direction, (3, 3)), grid.origin, strict=True)
    ):
        for column, value in enumerate((*direction, shift)):
            matrix.SetElement(row, column, float(value))
    return make_image(scalars, points, "values"), matrix


def _camera(corners: np.ndarray, view: View, size: tuple[int, int]) -> Any:
    """As near as it can be with all corners in the picture."""
    axes = view.axes()
    centre = corners.mean(axis=0)
    right, up, towards = axes @ (corners - centre).T
    slope = np.tan(np.radians(_VIEW_ANGLE) / 2)
    width, height = size
    needed = np.maximum(np.abs(up), np.abs(right) * height / width) / slope
    distance = _MARGIN * float(np.max(towards + needed))
    camera = vtk("vtkRenderingCore").vtkCamera()
    camera.SetFocalPoint(centre)
    camera.SetPosition(centre + distance * axes[2])
    camera.SetViewUp(axes[1])
    camera.SetViewAngle(_VIEW_ANGLE)
    return camera


def _transfer_function(low: float, high: float) -> Any:
    colors = vtk("vtkRenderingCore").vtkColorTransferFunction()
    for position, *color in _COLORS:
        colors.AddRGBPoint(low + position * (high - low), *color)
    opacities = vtk("vtkCommonDataModel").vtkPiecewiseFunction()
    for position, opacity in _OPACITY:
        opacities.AddPoint(low + position * (high - low), opacity)
    properties = vtk("vtkRenderingCore").vtkVolumeProperty()
    properties.SetColor(colors)
    properties.SetScalarOpacity(opacities)
    properties.SetInterpolationTypeToLinear()
    return properties
