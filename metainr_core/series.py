"""Time series of volumes, read one step at a time."""

from __future__ import annotations

import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .errors import MetaINRWarning, SeriesError
from .grid import Grid
from .hashing import fingerprint
from .members import Member
from .single_precision import LARGEST, is_small, may_round, rounding, too_large

# Rounding to float32 that is worth a warning, relative to the range: -80 dB.
_ROUNDING = 1e-4

GHOSTS = "vtkGhostType"
"""VTK's array of marks on blanked and duplicate values."""

Progress = Callable[[float, str], None]
"""``progress(fraction, message)``, fraction 0 to 1; may raise ``Cancelled``."""


def no_progress(fraction: float, message: str) -> None:
    """Reports to nobody."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of each component, over one step or a whole series."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> Range:
        """Of an array ``(…, components)``."""
        flat = values.reshape(-1, values.shape[-1])
        return cls(
            tuple(float(v) for v in flat.min(axis=0)), tuple(float(v) for v in flat.max(axis=0))
        )

    @classmethod
    def union(cls, ranges: Iterable[Range]) -> Range:
        ranges = list(ranges)
        low = np.min([r.low for r in ranges], axis=0)
        high = np.max([r.high for r in ranges], axis=0)
        return cls(tuple(map(float, low)), tuple(map(float, high)))

    @classmethod
    def from_json(cls, data: Mapping[str, Any], components: int) -> Range:
        """Raises one of ``errors.DAMAGE`` when ``data`` is no range of so many components."""
        low, high = (tuple(map(float, data[name])) for name in ("low", "high"))
        ordered = all(-math.inf < a <= b < math.inf for a, b in zip(low, high, strict=True))
        if len(low) != components or not ordered:
            raise ValueError(f"{low} to {high} is no range of {components} components")
        return cls(low, high)

    @property
    def width(self) -> float:
        """The widest component's range: what PSNR is relative to."""
        return max(high - low for low, high in zip(self.low, self.high, strict=True))

    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """``centre``, ``half``, float32 ``(components,)``: value = centre + half * normalised.

        A constant component gets the widest ``half`` of the others, so that its error is no
        larger than theirs; without any others 1.
        """
        low, high = np.array(self.low, np.float64), np.array(self.high, np.float64)
        half = ((high - low) / 2).astype(np.float32)
        half[half == 0] = half.max() or 1.0
        return (low / 2 + high / 2).astype(np.float32), half


@dataclass(frozen=True)
class StepScan:
    """What one pass over a step tells: its range, and a fingerprint of its time and values."""

    range: Range
    digest: str


class Series(ABC):
    """A time series of one array on one grid.

    ``name`` is what messages call it, ``array`` the array's name, ``times`` the time values, which
    increase within each of the ``members``. Subclasses provide ``_load``; users call ``read``.
    """

    def __init__(
        self,
        name: str,
        grid: Grid,
        array: str,
        components: int,
        times: Sequence[float],
        *,
        ignore_nonfinite: bool = False,
    ):
        self.name = name
        self.grid = grid
        self.array = array
        self.components = components
        self.times = tuple(float(t) for t in times)
        self.ignore_nonfinite = ignore_nonfinite
        self._scan: list[StepScan] | None = None
        self._rounding_known: set[int] = set()
        self._told: set[str] = set()
        if not self.times:
            raise SeriesError(f"{name} has no time steps")
        for member in self.members:
            own = self.times[member.first : member.steps.stop]
            for step, (before, after) in enumerate(pairwise((-math.inf, *own)), member.first):
                if not before < after < math.inf:
                    what = f"{after} after {before}" if step > member.first else f"{after}"
                    raise SeriesError(
                        f"{self.where(step)}: its time is {what}; times must be finite and increase"
                    )

    def __len__(self) -> int:
        return len(self.times)

    @property
    def members(self) -> list[Member]:
        """The runs that the steps belong to, in their order: of an ensemble, several."""
        return [Member("", 0, len(self))]

    @abstractmethod
    def _load(self, step: int) -> np.ndarray:
        """The values of ``step``, ``(nz, ny, nx, components)``, any numeric dtype."""

    def where(self, step: int) -> str:
        return f"step {step} of {self.name}"

    def read(self, step: int) -> np.ndarray:
        """The values of ``step``: ``(nz, ny, nx, components)`` float32, finite.

        Raises SeriesError when the step cannot be read, has another shape, or has values that
        are not finite or beyond half of what float32 holds; with ``ignore_nonfinite`` those that
        are not finite are replaced by the mean of their component's others. Gives one
        MetaINRWarning for the whole series when float32 rounds values by more than a
        ten-thousandth of their range.
        """
        original = self._load(step)
        expected = (*self.grid.shape, self.components)
        if original.shape != expected:
            raise SeriesError(
                f'{self.where(step)}: array "{self.array}" has shape {original.shape} (z, y, x,'
                f" components); the first step has {expected}; all steps need one grid"
            )
        if original.dtype.kind not in "buif":
            raise SeriesError(
                f'{self.where(step)}: array "{self.array}" is of type {original.dtype}; expected'
                " real numbers"
            )
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(original, np.float32)
        if not is_small(values):
            if what := too_large(original):
                raise SeriesError(
                    f'{self.where(step)}: array "{self.array}" has {what}; scale them to below'
                    f" {LARGEST:.2g} first (in ParaView with the Calculator)"
                )
            values = self._replace_nonfinite(step, values)
        if may_round(original.dtype):
            self._check_rounding(step, original, values)
        return values

    def warn_once(self, kind: str, message: str) -> None:
        """One MetaINRWarning of each kind, however often steps are read."""
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(message, MetaINRWarning, stacklevel=3)

    def _check_rounding(self, step: int, original: np.ndarray, values: np.ndarray) -> None:
        if "rounding" in self._told or step in self._rounding_known:
            return
        self._rounding_known.add(step)
        off, share = rounding(original, values)
        if share > _ROUNDING:
            self.warn_once(
                "rounding",
                f'{self.where(step)}: array "{self.array}" is {original.dtype}, and float32, as'
                f" which it is taken, is off by up to {off:.3g}, {100 * share:.2g} % of its range;"
                " errors are measured against the rounded values; subtract the mean (or scale"
                " what is below 1e-38) first, in ParaView with the Calculator",
            )

    def _replace_nonfinite(self, step: int, values: np.ndarray) -> np.ndarray:
        finite = np.isfinite(values)
        z, y, x, _ = np.unravel_index(int(finite.argmin()), finite.shape)
        first = int(x), int(y), int(z)
        bad = int(finite.size - np.count_nonzero(finite))
        what = f'{self.where(step)}: array "{self.array}" has {bad} non-finite values'
        if not self.ignore_nonfinite:
            raise SeriesError(
                f"{what} (first at x, y, z = {first}); clean them or pass --ignore-nonfinite"
            )
        if not finite.any((0, 1, 2)).all():
            where = "" if self.components == 1 else " of one of its components"
            raise SeriesError(f"{what}: all{where}; nothing is left to learn")
        mean = values.mean((0, 1, 2), dtype=np.float64, where=finite)
        return np.where(finite, values, mean.astype(np.float32))

    def scan(self, progress: Progress = no_progress) -> list[StepScan]:
        """Range and fingerprint of every step; reads each step once, the first time."""
        if self._scan is None:
            found = []
            for step in range(len(self)):
                progress(step / len(self), f"reading step {step + 1} of {len(self)}")
                found.append(self._scanned(step))
            self._scan = found
        return self._scan

    def _scanned(self, step: int) -> StepScan:
        # A function of its own, so that no step is held while the next one is read.
        values = self.read(step)
        return StepScan(Range.of(values), fingerprint(self.times[step], values))

    def value_range(self, progress: Progress = no_progress) -> Range:
        """Range over all steps."""
        return Range.union(s.range for s in self.scan(progress))

    def describe(self) -> dict[str, object]:
        """What identifies the series apart from its values: JSON-able."""
        return {
            "array": self.array,
            "components": self.components,
            "grid": self.grid.to_json(),
            "times": list(self.times),
        }


class ArraySeries(Series):
    """A series held in memory."""

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        *,
        grid: Grid | None = None,
        array: str = "values",
        times: Sequence[float] | None = None,
        name: str = "the arrays",
        ignore_nonfinite: bool = False,
    ):
        """``arrays``: each ``(nz, ny, nx)`` or ``(nz, ny, nx, components)``, any numeric dtype."""
        if not len(arrays):
            raise SeriesError(f"{name} has no time steps")
        self._arrays = [np.asarray(a) for a in arrays]
        first = self._arrays[0]
        if first.ndim not in (3, 4):
            raise SeriesError(f"{name}: step 0 has {first.ndim} axes; expected (z, y, x[, c])")
        components = first.shape[3] if first.ndim == 4 else 1
        grid = grid or Grid(first.shape[2::-1])
        times = range(len(arrays)) if times is None else times
        if len(times) != len(arrays):
            raise SeriesError(f"{name}: {len(times)} times for {len(arrays)} steps")
        super().__init__(name, grid, array, components, times, ignore_nonfinite=ignore_nonfinite)

    def _load(self, step: int) -> np.ndarray:
        values = self._arrays[step]
        return values[..., None] if values.ndim == 3 else values


def choose_array(
    arrays: Sequence[tuple[str, str]], wanted: str | None, where: str
) -> tuple[str, str]:
    """(association, name) of the wanted array, or of the only one."""
    if wanted != GHOSTS:
        arrays = [pair for pair in arrays if pair[1] != GHOSTS]
    names = ", ".join(f"{n} ({a})" for a, n in arrays) or "none"
    matching = [pair for pair in arrays if wanted is None or pair[1] == wanted]
    if not matching:
        what = "no array" if wanted is None else f'no array "{wanted}"'
        raise SeriesError(f"{where} has {what}; its arrays: {names}")
    if wanted is None and len(matching) > 1:
        raise SeriesError(f"{where} has several arrays: {names}; name one with --array")
    return matching[0]


def check_grid(found: Grid, expected: Grid, where: str) -> None:
    """Raises SeriesError when a step's grid differs from the first step's."""
    for name in ("dims", "start", "spacing", "origin", "direction"):
        a, b = getattr(found, name), getattr(expected, name)
        if not np.allclose(a, b, rtol=1e-6, atol=1e-12):
            raise SeriesError(
                f"{where}: its grid has {name} {a}, the first step's {b}; all steps need one grid"
            )


def open_series(
    path: str | Path, array: str | None = None, *, ignore_nonfinite: bool = False
) -> Series:
    """The series at ``path``: a ``.pvd``, a glob of ``.vti``, or a folder with ``dataset.json``.

    A ``.csv`` or a folder ``.cdb`` is an ensemble (``ensemble.open_ensemble``). ``array``: name
    of a point or cell array; None takes the only one. Raises SeriesError.
    """
    text = str(path)
    if Path(text).suffix in (".csv", ".cdb"):
        from .ensemble import open_ensemble

        return open_ensemble(Path(text), array, ignore_nonfinite=ignore_nonfinite)
    if os.path.isdir(text) or Path(text).name == "dataset.json":
        from .dataset_json import open_dataset_json

        return open_dataset_json(Path(text), array, ignore_nonfinite=ignore_nonfinite)
    from .vti import open_vti_series

    return open_vti_series(text, array, ignore_nonfinite=ignore_nonfinite)
