"""How a grid is cut into bricks, and which network suits it.

Bricks of one layout all have the same size, so that their networks train and decode as one
batch. Neighbours overlap by at least one voxel interval; inside one interval of the overlap the
decoder blends the two linearly, which makes the reconstruction continuous everywhere. On the
original grid the blend is 0 or 1: every voxel is decoded by exactly one brick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from .config import EncodeConfig, PretrainConfig, SirenConfig
from .errors import SettingsError
from .grid import Grid

Stage = TypeVar("Stage", PretrainConfig, EncodeConfig)

MOST_BRICKS = 1 << 17  # along an axis
WHOLE_VOLUME_VOXELS = 400_000
DEFAULT_BRICK = 32
# A network of the usual width would not be small beside fewer values than these.
SMALL_VALUES = 100_000
SMALL_RATIO = 8
SMALLEST_WIDTH = 8
# Bits that a weight is counted with where a ratio picks the width. Coded weights of one size
# are equally good, within 0.3 dB, at 4 to 9 bits each.
BITS = {"coded": 5, "float16": 16, "float32": 32}
# What the file of a step and its entry in the index hold besides weights.
STEP_BYTES = 1300


@dataclass(frozen=True)
class Axis:
    """The bricks along one axis of ``count`` voxels: brick ``i`` covers ``intervals + 1`` voxels.

    ``starts[i]`` is its first voxel; ``seams[i]`` the voxel after which brick i hands over to
    brick i + 1, within one voxel.
    """

    count: int
    intervals: int
    starts: tuple[int, ...]
    seams: tuple[int, ...]

    @classmethod
    def cut(cls, count: int, brick_size: int) -> Axis:
        bricks = 1 if brick_size == 0 else -(-count // brick_size)
        if bricks > MOST_BRICKS:
            raise SettingsError(
                f"brick_size {brick_size} makes {bricks} bricks along an axis of {count} values;"
                f" expected at most {MOST_BRICKS}: choose a larger one"
            )
        # Laid end to end with one shared interval per seam, evenly: no sliver at the border.
        intervals = -(-(count - 1 + bricks - 1) // bricks)
        room = count - 1 - intervals
        starts = tuple(round(i * room / max(bricks - 1, 1)) for i in range(bricks))
        seams = tuple((right + left + intervals - 1) // 2 for left, right in pairwise(starts))
        return cls(count, intervals, starts, seams)

    def local(self, brick: int, positions: np.ndarray) -> np.ndarray:
        """Voxel indices as the brick's network sees them: -1 to 1 from end to end."""
        if self.intervals == 0:
            return np.zeros_like(positions)
        return (positions - self.starts[brick]) * (2 / self.intervals) - 1

    def weights(self, brick: int, positions: np.ndarray) -> np.ndarray:
        """The brick's share in the values at ``positions``; the shares of all bricks add to 1."""
        share = np.ones_like(positions)
        if brick > 0:
            share = np.minimum(share, positions - self.seams[brick - 1])
        if brick < len(self.seams):
            share = np.minimum(share, self.seams[brick] + 1 - positions)
        return np.clip(share, 0, 1)


@dataclass(frozen=True)
class BrickLayout:
    """The bricks of a volume, x fastest. ``axes`` are x, y, z."""

    axes: tuple[Axis, Axis, Axis]

    @classmethod
    def of(cls, dims: tuple[int, ...], brick_size: int) -> BrickLayout:
        x, y, z = (Axis.cut(n, brick_size) for n in dims)
        return cls((x, y, z))

    @property
    def bricks(self) -> int:
        x, y, z = self.axes
        return len(x.starts) * len(y.starts) * len(z.starts)

    @property
    def brick_shape(self) -> tuple[int, int, int]:
        """``(nz, ny, nx)`` voxels of every brick, the shared ones included."""
        x, y, z = self.axes
        return z.intervals + 1, y.intervals + 1, x.intervals + 1

    def position(self, brick: int) -> tuple[int, int, int]:
        """Place of the brick along x, y, z."""
        x, y, _ = self.axes
        rest, i = divmod(brick, len(x.starts))
        k, j = divmod(rest, len(y.starts))
        return i, j, k

    def split(self, volume: np.ndarray) -> np.ndarray:
        """``(nz, ny, nx, C)`` cut into ``(bricks, voxels per brick, C)``, x fastest.

        A view, without copy, when there is one brick.
        """
        shape = self.brick_shape
        components = volume.shape[-1]
        if self.bricks == 1:
            return volume.reshape(1, -1, components)
        result = np.empty((self.bricks, *shape, components), volume.dtype)
        for brick in range(self.bricks):
            i, j, k = (a.starts[p] for a, p in zip(self.axes, self.position(brick), strict=True))
            result[brick] = volume[k : k + shape[0], j : j + shape[1], i : i + shape[2]]
        return result.reshape(self.bricks, -1, components)


def choose_siren(
    grid: Grid,
    components: int = 1,
    *,
    brick_size: int | None = None,
    width: int | None = None,
    hidden_layers: int | None = None,
    omega_0: float | None = None,
    target_ratio: float | None = None,
    bits_per_weight: float = BITS["coded"],
    base: SirenConfig | None = None,
) -> SirenConfig:
    """The network for a grid; every None is taken from ``base``, or chosen without one.

    Up to about 400,000 voxels one network serves the whole volume, as published; larger volumes
    get bricks of 32³, whose cost per voxel does not grow with the volume. Volumes of less than
    about 100,000 values get networks of an eighth as many numbers. ``target_ratio``: float32
    bytes of the volume over bytes of a step, which are its description (``STEP_BYTES``) and
    ``bits_per_weight`` for each weight (``BITS``); the widest network that reaches it is taken.
    Raises SettingsError when none does.
    """
    if base is not None:
        brick_size = base.brick_size if brick_size is None else brick_size
        width = base.width if width is None and target_ratio is None else width
        hidden_layers = base.hidden_layers if hidden_layers is None else hidden_layers
        omega_0 = base.omega_0 if omega_0 is None else omega_0
    if brick_size is None:
        brick_size = 0 if grid.voxels <= WHOLE_VOLUME_VOXELS else DEFAULT_BRICK
    layout = BrickLayout.of(grid.dims, brick_size)
    whole = layout.bricks == 1
    if hidden_layers is None:
        hidden_layers = 3
    if omega_0 is None:
        omega_0 = 30.0
    first_scale = base.first_scale if base else 0.0

    def shape(chosen: int) -> SirenConfig:
        return SirenConfig(chosen, hidden_layers, omega_0, first_scale, brick_size)

    values = grid.voxels * components / layout.bricks
    if target_ratio is None:
        if width is None:
            width = 64 if whole else 20
            while (
                values * layout.bricks < SMALL_VALUES
                and width > SMALLEST_WIDTH
                and shape(width).parameters(components) > values / SMALL_RATIO
            ):
                width -= 1
        return shape(width)
    if width is not None:
        raise SettingsError("both width and target_ratio are given; give one of them")
    if not target_ratio > 0:
        raise SettingsError(f"target_ratio is {target_ratio}; expected a number above 0")

    def reached(chosen: int) -> float:
        weights = layout.bricks * shape(chosen).parameters(components)
        return 4 * grid.voxels * components / (STEP_BYTES + weights * bits_per_weight / 8)

    fitting = [w for w in range(4, 1025) if reached(w) >= target_ratio]
    if not fitting:
        best = reached(4)
        raise SettingsError(
            f"target_ratio {target_ratio:g} cannot be reached with {layout.bricks}"
            f" {'brick' if whole else 'bricks'} of"
            f" {hidden_layers} hidden layers: networks of width 4 give {best:.1f};"
            " ask for less, or use larger bricks or fewer layers"
        )
    return shape(max(fitting))


def settings_with_network(
    stage: type[Stage],
    preset: str,
    fields: Mapping[str, Any],
    network: Mapping[str, Any],
    grid: Grid,
    components: int,
    prior: SirenConfig | None = None,
) -> Stage:
    """Settings of a stage: ``fields`` before those of the preset, and the network for a grid.

    ``network``: keywords of ``choose_siren``, where ``fields`` have none. ``prior``: the network
    of what the fit starts from; ``siren`` is None when no other is asked for, which the core
    refuses. ``EncodeConfig.target_ratio`` picks the width as well, unless the width is given or
    the prior's: coded weights of any width can be made to reach it. Raises SettingsError.
    """
    config = stage.preset(preset, **fields)
    asked = dict(network)
    weights = EncodeConfig.preset(preset).weights
    if isinstance(config, EncodeConfig):
        weights = config.weights
        free = prior is None and "width" not in asked
        if config.target_ratio and (free or weights != "coded"):
            asked["target_ratio"] = config.target_ratio
    if prior is not None and not asked:
        return dataclasses.replace(config, siren=None)
    bits, base = BITS[weights], prior or config.siren
    siren = choose_siren(grid, components, bits_per_weight=bits, base=base, **asked)
    if prior is not None and "target_ratio" in asked and siren.width != prior.width:
        raise SettingsError(
            f"target_ratio {asked['target_ratio']:g} takes width {siren.width} with {weights}"
            f" weights, and the prior has {prior.width}; make a prior of that width, or choose"
            " coded weights, which need no other width"
        )
    return dataclasses.replace(config, siren=siren)
