"""Two inputs of a filter compared at some of their times, and the figures that are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metainr_core.comparison import (
    Match,
    Perception,
    VolumeComparison,
    compare_volumes,
    default_isovalues,
    interpolate,
)
from metainr_core.errors import SettingsError
from metainr_core.grid import Grid
from metainr_core.metrics import magnitude
from metainr_core.series import Progress
from metainr_core.surfaces import SurfacePair

from .moments import Moment
from .series import PipelineSeries

FIGURES = ("psnr", "psnr_series", "ssim", "mean_error", "max_error")
SURFACE_FIGURES = {
    "isovalue": float, "chamfer_voxels": float, "chamfer": float, "hausdorff_voxels": float,
    "hausdorff": float, "triangles_reference": int, "triangles_reconstruction": int,
}  # fmt: skip


@dataclass
class Figures:
    """What was found out about two inputs that have not changed since: the rows of the table by
    ``Moment``. ``width``: highest minus lowest value of the reference over all its steps."""

    key: Any
    isovalues: list[float]
    width: float
    perception: Perception | None
    rows: dict[Moment, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, key: Any, reference: PipelineSeries, values: Mapping[str, Any], progress: Progress
    ) -> Figures:
        """``values``: of the properties. Reads every step of the reference."""
        isovalues = list(values["Isovalues"])
        if not all(map(math.isfinite, isovalues)):
            raise SettingsError(f"Isovalues is {isovalues}; expected finite numbers")
        found = reference.value_range(progress)
        perception = None
        if values["LPIPS"]:
            from metainr_core.perception import RenderedLpips

            perception = RenderedLpips(values["LPIPSNet"], values["BackboneFile"] or None, found)
        return cls(key, isovalues or default_isovalues(reference), found.width, perception)

    def measure(
        self, moment: Moment, reference: np.ndarray, reconstruction: np.ndarray, grid: Grid
    ) -> VolumeComparison:
        """Compares two arrays ``(nz, ny, nx, components)`` on ``grid`` and adds their row."""
        volume = compare_volumes(
            reference,
            reconstruction,
            grid,
            isovalues=self.isovalues,
            series_width=self.width,
            perception=self.perception,
        )
        self.rows[moment] = row_of(moment, volume)
        return volume

    def columns(self) -> dict[str, type]:
        """Names and types of the rows' values."""
        columns: dict[str, type] = {"step": int, "time": float} | dict.fromkeys(FIGURES, float)
        if any("lpips" in row for row in self.rows.values()):
            texts = any(isinstance(row["lpips"], str) for row in self.rows.values())
            columns["lpips"] = str if texts else float
        for number in range(len(self.isovalues)):
            columns |= {f"{name}_{number}": kind for name, kind in SURFACE_FIGURES.items()}
        return {**columns, "notes": str}


def row_of(moment: Moment, volume: VolumeComparison) -> dict[str, Any]:
    """The row of the table: the volume's figures, and those of isosurface k as ``…_k``."""
    row: dict[str, Any] = {"step": moment.step, "time": moment.time}
    row |= {name: getattr(volume, name) for name in FIGURES}
    if volume.lpips is not None:
        row["lpips"] = volume.lpips
    for number, pair in enumerate(volume.surfaces):
        found = {
            **{name: getattr(pair, name) for name in SURFACE_FIGURES if "triangles" not in name},
            "triangles_reference": pair.reference.triangles,
            "triangles_reconstruction": pair.reconstruction.triangles,
        }
        row |= {f"{name}_{number}": value for name, value in found.items()}
    notes = [f"{pair.isovalue:g}: {pair.note}" for pair in volume.surfaces if pair.note]
    return {**row, "notes": "; ".join([*filter(None, [volume.note]), *notes])}


class PipelinePair:
    """Values of two inputs over the voxels that both cover."""

    def __init__(self, reference: PipelineSeries, reconstruction: PipelineSeries):
        """Raises MetaINRError when the inputs cannot be compared."""
        if reference.components != reconstruction.components:
            raise SettingsError(
                f'array "{reference.array}" of {reference.name} has {reference.components}'
                f' components, "{reconstruction.array}" of {reconstruction.name} has'
                f" {reconstruction.components}; choose arrays of one kind"
            )
        self.reference, self.reconstruction = reference, reconstruction
        self.match = Match.of(reference.grid, reconstruction.grid)

    @property
    def grid(self) -> Grid:
        return self.match.grid

    def values(self, moment: Moment) -> tuple[np.ndarray, np.ndarray]:
        """Of reference and reconstruction: both ``(nz, ny, nx, components)`` float32."""
        original = self.match.crop(self.reference.read(moment.first), self.reference.grid)
        values = self.reconstruction.read(moment.second)
        if not self.match.same:
            values = interpolate(values, self.reconstruction.grid, self.grid)
        return original, values

    def surfaces(
        self, first: np.ndarray, second: np.ndarray, isovalues: Sequence[float]
    ) -> tuple[SurfacePair, ...]:
        scalars = magnitude(first), magnitude(second)
        return tuple(SurfacePair.of(*scalars, self.grid, isovalue) for isovalue in isovalues)
