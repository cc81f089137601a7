"""A reconstruction against its original: errors, structure and isosurfaces, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SettingsError
from .grid import Grid
from .metrics import Errors, magnitude, psnr, ssim
from .records import step_names
from .residual import resample
from .series import Progress, Range, Series, no_progress
from .surfaces import SurfacePair

if TYPE_CHECKING:
    from .archive import Archive

Perception = Callable[[np.ndarray, np.ndarray, Grid], "float | str"]
"""Of original and reconstruction ``(nz, ny, nx, components)`` on one grid: how different they look,
or why that is not known; see ``perception.RenderedLpips``."""

_QUANTILES = (0.25, 0.5, 0.75)
_QUANTILE_STEPS = 4
_QUANTILE_VALUES = 1 << 18  # of each of those steps
CONSTANT = "the reference is constant there, which leaves no range for a PSNR"
_SAME_TIME = 1e-6  # of the time between two steps


@dataclass(frozen=True)
class VolumeComparison:
    """One volume against its original, all over the same voxels.

    ``psnr``: over the original's own range, ``psnr_series`` over that of its series (dB), infinite
    without error, minus infinity with one where that range is 0. ``ssim``: over the own range.
    ``mean_error``, ``max_error``: absolute, in the data's units. ``surfaces``: one pair for each
    isovalue. ``lpips``: of renderings; a text where it could not be measured; None where nobody
    asked.
    """

    psnr: float
    psnr_series: float
    ssim: float
    mean_error: float
    max_error: float
    surfaces: tuple[SurfacePair, ...]
    lpips: float | str | None = None

    @property
    def note(self) -> str:
        """Why there is no PSNR, if so."""
        return CONSTANT if self.psnr == -math.inf else ""

    def to_json(self) -> dict[str, Any]:
        """Figures, without the surfaces' geometry. JSON has no infinity: those are null."""
        row: dict[str, Any] = {
            f.name: _finite(getattr(self, f.name)) for f in fields(self) if f.name != "surfaces"
        }
        if self.lpips is None:
            del row["lpips"]
        if self.note:
            row["note"] = self.note
        return {**row, "isosurfaces": [surface_figures(pair) for pair in self.surfaces]}


def surface_figures(pair: SurfacePair) -> dict[str, Any]:
    """What is said of two isosurfaces, JSON-able; an infinite distance is null."""
    return {
        "isovalue": pair.isovalue,
        "chamfer_voxels": _finite(pair.chamfer_voxels),
        "chamfer": _finite(pair.chamfer),
        "hausdorff_voxels": _finite(pair.hausdorff_voxels),
        "hausdorff": _finite(pair.hausdorff),
        "triangles_reference": pair.reference.triangles,
        "triangles_reconstruction": pair.reconstruction.triangles,
        "note": pair.note,
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare_volumes(
    reference: np.ndarray,
    reconstruction: np.ndarray,
    grid: Grid,
    *,
    isovalues: Sequence[float] = (),
    series_width: float,
    perception: Perception | None = None,
) -> VolumeComparison:
    """Compares two arrays ``(nz, ny, nx, components)`` on one grid.

    ``series_width``: highest minus lowest value of the reference's series. Isosurfaces are those
    of the magnitude where there are several components.
    """
    errors = Errors.between(reference, reconstruction)
    width = Range.of(reference).width
    scalars, others = magnitude(reference), magnitude(reconstruction)
    return VolumeComparison(
        psnr=psnr(errors.mean_squared, width),
        psnr_series=psnr(errors.mean_squared, series_width),
        ssim=ssim(reference, reconstruction, width),
        mean_error=errors.mean,
        max_error=errors.largest,
        surfaces=tuple(SurfacePair.of(scalars, others, grid, float(v)) for v in isovalues),
        lpips=None if perception is None else perception(reference, reconstruction, grid),
    )


def default_isovalues(series: Series) -> list[float]:
    """The quartiles of a series' values, of voxels taken evenly from some of its steps.

    Of those only the ones that a surface can have: inside the range, and distinct; in a field
    without such, the middle of its range.
    """
    steps = np.unique(np.linspace(0, len(series) - 1, _QUANTILE_STEPS).round().astype(int))
    samples = []
    for step in steps:
        values = magnitude(series.read(int(step))).ravel()
        samples.append(values[:: max(1, values.size // _QUANTILE_VALUES)].copy())
    pooled = np.concatenate(samples)
    low, high = float(pooled.min()), float(pooled.max())
    found = sorted({float(v) for v in np.quantile(pooled, _QUANTILES) if low < v < high})
    return found or [low / 2 + high / 2]


@dataclass(frozen=True)
class Match:
    """How the values of a reconstruction are brought to those of a reference.

    ``grid``: the part of the reference's grid that both cover. ``text`` says so.
    """

    grid: Grid
    same: bool
    text: str

    @classmethod
    def of(cls, reference: Grid, reconstruction: Grid, *, decodes: bool = False) -> Match:
        """``decodes``: the reconstruction is evaluated at any place, not interpolated.

        Raises MetaINRError when the grids do not overlap.
        """
        grid = reference.overlap(reconstruction)
        same = grid == reference and _positions_agree(grid, reconstruction)
        if same:
            return cls(grid, True, "one grid")
        how = "is decoded" if decodes else "is interpolated linearly"
        size = " × ".join(map(str, grid.dims))
        share = grid.voxels / reference.voxels
        part = "all" if share == 1 else f"{100 * share:.3g} %"
        text = f"at {size} values, {part} of the reference's; the reconstruction {how} there"
        return cls(grid, False, text)

    def crop(self, values: np.ndarray, reference: Grid) -> np.ndarray:
        """The part of an array on the reference's grid that both cover."""
        first = np.subtract(self.grid.start, reference.start)
        x, y, z = (slice(a, a + n) for a, n in zip(first, self.grid.dims, strict=True))
        return values[z, y, x]


def _positions_agree(grid: Grid, other: Grid) -> bool:
    if grid.dims != other.dims:
        return False
    positions = other.index_coordinates(grid)
    return all(np.allclose(p, np.arange(p.size), atol=1e-3) for p in positions)


def interpolate(values: np.ndarray, own: Grid, target: Grid) -> np.ndarray:
    """``(nz, ny, nx, components)`` on the grid ``own``, linearly between voxels, on ``target``."""
    return resample(np.ascontiguousarray(values, np.float32), own.index_coordinates(target))


@dataclass(frozen=True)
class StepComparison:
    """``step``: of the reference. ``member``: name of the ensemble's member, if it is one."""

    step: int
    time: float
    member: str
    volume: VolumeComparison

    def to_json(self) -> dict[str, Any]:
        row = {"step": self.step, "time": self.time, **self.volume.to_json()}
        return {**row, "member": self.member} if self.member else row


def compare(
    reference: Series,
    reconstruction: Series | Archive,
    *,
    isovalues: Sequence[float] | None = None,
    steps: Sequence[int] | None = None,
    perception: Perception | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> Iterator[StepComparison]:
    """Compares the steps that two series, or a series and an archive, have in common: by time.

    ``isovalues``: None takes ``default_isovalues``. ``steps``: of the reference (None: all).
    An archive is decoded at the reference's voxels; another series on another grid is
    interpolated. Raises MetaINRError when nothing is in common, at the first step.
    """
    if wrong := [v for v in isovalues or () if not np.isfinite(v)]:
        raise SettingsError(f"isovalue is {wrong[0]}; expected finite numbers")
    match = Match.of(reference.grid, reconstruction.grid, decodes=_is_archive(reconstruction))
    if reference.components != reconstruction.components:
        raise SettingsError(
            f"{reference.name} has {reference.components} components,"
            f" the reconstruction {reconstruction.components}; compare arrays of one kind"
        )
    pairs = common_steps(reference, reconstruction)
    if steps is not None:
        absent = [s for s in steps if s not in pairs]
        if absent:
            raise SettingsError(
                f"step {absent[0]} is not in both; in both are {step_names(list(pairs))}"
            )
        pairs = {step: pairs[step] for step in steps}
    chosen = default_isovalues(reference) if isovalues is None else isovalues
    width = reference.value_range(lambda f, m: progress(0.2 * f, m)).width
    names = {step: member.name for member in reference.members for step in member.steps}
    for done, (step, other) in enumerate(pairs.items()):
        progress(0.2 + 0.8 * done / len(pairs), f"comparing step {step}")
        original = match.crop(reference.read(step), reference.grid)
        volume = compare_volumes(
            original,
            _values(reconstruction, other, match, device),
            match.grid,
            isovalues=chosen,
            series_width=width,
            perception=perception,
        )
        yield StepComparison(step, reference.times[step], names[step], volume)
    progress(1.0, f"compared {len(pairs)} steps")


def common_steps(reference: Series, reconstruction: Series | Archive) -> dict[int, int]:
    """Steps of the reference, and which of the reconstruction's are of the same member and time.

    Raises SettingsError when there are none.
    """
    ours, theirs = _moments(reference), _moments(reconstruction)
    if len(ours) == len(theirs) == 1:
        theirs = dict(zip(ours, theirs.values(), strict=True))  # whatever they are called
    found: dict[int, int] = {}
    for name, mine in ours.items():
        other = theirs.get(name, {})
        same = same_times(list(mine.values()), list(other.values()))
        found.update({list(mine)[a]: list(other)[b] for a, b in same.items()})
    if not set(ours).intersection(theirs):
        names = (", ".join(f'"{n}"' for n in m if n) or "no member" for m in (ours, theirs))
        raise SettingsError(
            "no member is in both: the reference has {}, the reconstruction {}; name series and"
            " parameters in a data.csv, as the archive was made from, if only in one row".format(
                *names
            )
        )
    if not found:
        raise SettingsError(
            "no time step is in both: the reference has"
            f" {_times(ours)}, the reconstruction {_times(theirs)}"
        )
    return dict(sorted(found.items()))


def same_times(times: Sequence[float], others: Sequence[float]) -> dict[int, int]:
    """Which of ``others`` is the same time as one of ``times``, by their indices.

    Times are the same when they differ by less than a millionth of the time between two steps.
    """
    found: dict[int, int] = {}
    if len(times):
        gap = np.diff(times).min(initial=np.inf)
        slack = _SAME_TIME * (gap if np.isfinite(gap) else max(1.0, abs(times[0])))
        for index, time in enumerate(others):
            nearest = int(np.abs(np.subtract(times, time)).argmin())
            if abs(times[nearest] - time) <= slack:
                found[nearest] = index
    return dict(sorted(found.items()))


def _moments(source: Series | Archive) -> dict[str, dict[int, float]]:
    """For each member's name the times of its steps, by step."""
    if _is_archive(source):
        times = dict(zip(source.steps, source.times, strict=True))  # type: ignore[union-attr]
    else:
        times = dict(enumerate(source.times))
    return {m.name: {s: times[s] for s in m.steps if s in times} for m in source.members}


def _times(moments: dict[str, dict[int, float]]) -> str:
    parts = []
    for name, times in moments.items():
        span = "no step"
        if times:
            span = f"times {min(times.values()):g} to {max(times.values()):g}"
        parts.append(f"{name}: {span}" if name else span)
    return "; ".join(parts)


def _is_archive(source: Series | Archive) -> bool:
    return not isinstance(source, Series)


def _values(source: Any, step: int, match: Match, device: str) -> np.ndarray:
    if _is_archive(source):
        return source.decode(step, None if match.same else match.grid, device=device)
    values = source.read(step)
    return values if match.same else interpolate(values, source.grid, match.grid)
