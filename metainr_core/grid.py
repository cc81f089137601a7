"""The regular grid that a volume's values sit on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .errors import MetaINRError, SettingsError

_MARGIN = 0.5001  # voxels: cells end half a voxel outside the grid of their centres
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """Values on a regular grid, in VTK's conventions.

    ``dims``: numbers of *values* along x, y, z (for cell data the number of cells). ``start``:
    first index of the extent. ``spacing``, ``origin``: world units. ``direction``: 3 × 3 matrix,
    row-major. ``association``: ``point`` or ``cell``; cell values sit half a voxel in.
    ``flat``: axes along which cells have no thickness, as in the image of a plane.
    Arrays on the grid are ``(nz, ny, nx, components)``.
    """

    dims: tuple[int, ...]
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    origin: tuple[float, ...] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY
    start: tuple[int, ...] = (0, 0, 0)
    association: str = "point"
    flat: tuple[bool, ...] = (False, False, False)

    def __post_init__(self) -> None:
        for name, count, kind in (
            ("dims", 3, int),
            ("spacing", 3, float),
            ("origin", 3, float),
            ("direction", 9, float),
            ("start", 3, int),
            ("flat", 3, bool),
        ):
            values = tuple(kind(v) for v in getattr(self, name))
            if len(values) != count or not np.all(np.isfinite(values)):
                raise SettingsError(f"grid {name} is {values}; expected {count} finite numbers")
            object.__setattr__(self, name, values)
        if min(self.dims) < 1:
            raise SettingsError(f"grid dims are {self.dims}; expected at least one value per axis")
        if 0.0 in self.spacing:
            raise SettingsError(f"grid spacing is {self.spacing}; expected no zero")
        if self.association not in ("point", "cell"):
            raise SettingsError(f"grid association is {self.association!r}; point or cell")
        thick = [f and n > 1 for f, n in zip(self.flat, self.dims, strict=True)]
        if any(thick) or (any(self.flat) and self.association == "point"):
            raise SettingsError(f"grid flat is {self.flat}; expected that only of single cells")
        with np.errstate(over="ignore", invalid="ignore"):
            volume = abs(np.linalg.det(np.reshape(self.direction, (3, 3))))
        if not 1e-9 <= volume < np.inf:
            raise SettingsError(f"grid direction is {self.direction}; expected independent axes")

    @property
    def voxels(self) -> int:
        return self.dims[0] * self.dims[1] * self.dims[2]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(nz, ny, nx)``: the array's axes, slowest first."""
        return self.dims[::-1]

    @property
    def extent(self) -> tuple[int, ...]:
        """VTK's extent, of points: first and last index along x, then y, then z."""
        result: list[int] = []
        for start, count, flat in zip(self.start, self.dims, self.flat, strict=True):
            thick = self.association == "cell" and not flat
            result += (start, start + count - 1 + thick)
        return tuple(result)

    def part(self, extent: Sequence[int]) -> Grid:
        """The grid inside a VTK extent. Raises SettingsError when nothing is."""
        low = [max(a, b) for a, b in zip(extent[::2], self.extent[::2], strict=True)]
        high = [min(a, b) for a, b in zip(extent[1::2], self.extent[1::2], strict=True)]
        points = [2 * self._offset(axis) == 0 for axis in range(3)]
        dims = tuple(b - a + p for a, b, p in zip(low, high, points, strict=True))
        return replace(self, dims=dims, start=tuple(low))

    def _offset(self, axis: int) -> float:
        return 0.5 if self.association == "cell" and not self.flat[axis] else 0.0

    @property
    def bounds(self) -> tuple[float, float, float, float, float, float]:
        """x0, x1, y0, y1, z0, z1 of the values along the grid's own axes (before direction)."""
        result = []
        for axis in range(3):
            ends = self._positions(axis, np.array([0, self.dims[axis] - 1]))
            result += [float(ends.min()), float(ends.max())]
        return tuple(result)  # type: ignore[return-value]

    def _positions(self, axis: int, index: np.ndarray | None = None) -> np.ndarray:
        """Of all values, or of those at ``index``."""
        index = np.arange(self.dims[axis]) if index is None else index
        index = index + self.start[axis] + self._offset(axis)
        return self.origin[axis] + self.spacing[axis] * index

    def scaled(self, factor: float) -> Grid:
        """The same region with ``factor`` times as many values along each axis (at least one)."""
        if not (np.isfinite(factor) and factor > 0):
            raise SettingsError(f"scale is {factor}; expected a finite number above 0")
        factor = min(factor, 1e12)  # no memory holds that, but its products are finite
        return self.resampled(tuple(1 if n == 1 else max(2, round(n * factor)) for n in self.dims))

    def resampled(self, dims: Sequence[int]) -> Grid:
        """The same region with ``dims`` values along x, y, z; ends stay ends."""
        new = tuple(int(n) for n in dims)
        if len(new) != 3 or min(new) < 1:
            raise SettingsError(f"dims are {tuple(dims)}; expected three numbers of at least 1")
        spacing, origin = [], []
        for axis in range(3):
            if new[axis] == self.dims[axis]:
                ratio = 1.0
            elif self.association == "cell":
                ratio = self.dims[axis] / new[axis]
            else:
                ratio = (self.dims[axis] - 1) / max(new[axis] - 1, 1) or 1.0
            spacing.append(self.spacing[axis] * ratio)
            first = self.origin[axis] + self.spacing[axis] * self.start[axis]
            origin.append(first - spacing[-1] * self.start[axis])
        # The origin of a turned grid is its corner in the world; ``first`` moved it along axes.
        moved = self._world(tuple(origin))
        flat = tuple(f and n == 1 for f, n in zip(self.flat, new, strict=True))
        return replace(self, dims=new, spacing=tuple(spacing), origin=moved, flat=flat)

    def _world(self, local_origin: Sequence[float]) -> tuple[float, float, float]:
        shift = np.subtract(local_origin, self.origin)
        world = np.asarray(self.origin) + np.reshape(self.direction, (3, 3)) @ shift
        return tuple(float(v) for v in world)  # type: ignore[return-value]

    def cropped(self, box: Sequence[float]) -> Grid:
        """The grid's values inside ``box`` (x0, x1, y0, y1, z0, z1), same spacing.

        The box is in world units along the grid's own axes (world axes unless ``direction``
        turns the grid). Raises SettingsError when no value lies inside.
        """
        if len(box) != 6 or not np.all(np.isfinite(box)):
            raise SettingsError(f"box is {tuple(box)}; expected six finite numbers")
        dims, start = [], []
        for axis in range(3):
            low, high = sorted(box[2 * axis : 2 * axis + 2])
            positions = self._positions(axis)
            slack = 1e-6 * abs(self.spacing[axis])
            inside = np.flatnonzero((positions >= low - slack) & (positions <= high + slack))
            if inside.size == 0:
                raise SettingsError(
                    f"box {low:g} to {high:g} along {'xyz'[axis]} holds no value of the grid,"
                    f" which spans {positions.min():g} to {positions.max():g}"
                )
            dims.append(inside.size)
            start.append(self.start[axis] + int(inside[0]))
        return replace(self, dims=tuple(dims), start=tuple(start))

    def points(self, indices: np.ndarray) -> np.ndarray:
        """World coordinates ``(n, 3)`` float64 of places given as voxel indices ``(n, 3)``, x y z.

        Index 0 is the grid's first value along an axis.
        """
        offsets = np.add(self.start, [self._offset(axis) for axis in range(3)])
        local = np.multiply(self.spacing, indices + offsets)
        return np.add(self.origin, local @ np.reshape(self.direction, (3, 3)).T)

    def index_coordinates(self, target: Grid) -> list[np.ndarray]:
        """Where ``target``'s values lie in this grid's voxel indices: x, y, z arrays, float64.

        0 is this grid's first value along the axis. Positions up to half a voxel outside (cell
        data at another resolution) are clamped; farther ones raise MetaINRError.
        """
        result = []
        for axis, local in enumerate(self._local(target)):
            last = self.dims[axis] - 1
            # A volume one voxel thick is taken to be constant across its thickness.
            inside = local.min() >= -_MARGIN and local.max() <= last + _MARGIN
            if last > 0 and not inside:
                raise MetaINRError(
                    f"the grid to decode on reaches index {local.min():.2f} to {local.max():.2f}"
                    f" along {'xyz'[axis]}; the archive's grid has 0 to {last}"
                )
            result.append(np.clip(local, 0, last))
        return result

    def overlap(self, other: Grid) -> Grid:
        """The part of this grid that lies inside ``other``, up to half of its voxels outside.

        Raises MetaINRError when no value does, or when the two are turned against each other.
        """
        dims, start = [], []
        for axis, local in enumerate(other._local(self)):
            last = other.dims[axis] - 1
            slack = _MARGIN if last > 0 or self.dims[axis] > 1 else np.inf
            inside = np.flatnonzero((local >= -slack) & (local <= last + slack))
            if inside.size == 0:
                here, there = self.bounds, other.bounds
                raise MetaINRError(
                    "the two grids do not overlap:"
                    f" along {'xyz'[axis]} one spans {here[2 * axis]:g} to {here[2 * axis + 1]:g},"
                    f" the other {there[2 * axis]:g} to {there[2 * axis + 1]:g}"
                )
            dims.append(inside.size)
            start.append(self.start[axis] + int(inside[0]))
        return replace(self, dims=tuple(dims), start=tuple(start))

    def _local(self, target: Grid) -> Iterator[np.ndarray]:
        """Along x, y, z: ``target``'s values in this grid's voxel indices, however far outside."""
        if not np.allclose(target.direction, self.direction, atol=1e-6):
            raise MetaINRError("the two grids are turned against each other (their directions)")
        inverse = np.linalg.inv(np.reshape(self.direction, (3, 3)))
        shift = inverse @ np.subtract(target.origin, self.origin)
        for axis in range(3):
            index = np.arange(target.dims[axis]) + target.start[axis] + target._offset(axis)
            position = shift[axis] + target.spacing[axis] * index
            local = position / self.spacing[axis] - self.start[axis] - self._offset(axis)
            # Rounding noise must not move a voxel off its own centre (nor into the next brick).
            nearest = np.round(local)
            yield np.where(np.abs(local - nearest) < 1e-6, nearest, local)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Grid:
        try:
            return cls(**data)
        except (TypeError, ValueError) as error:
            raise MetaINRError(f"the grid's description cannot be read: {error}") from error
