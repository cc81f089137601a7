"""How large a time step is going to be, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .config import EncodeConfig, SirenConfig
from .grid import Grid
from .layout import BITS, BrickLayout

# What a step's file says about itself, and of every tensor of plain numbers.
_FILE_BYTES, _TENSOR_BYTES = 560, 70


@dataclass(frozen=True)
class Estimate:
    """Expected size of an encoded time step.

    ``networks``: one per brick. ``parameters``: weights and biases of one of them. ``bytes``: of
    the step's file; those of plain weights are exact to about 200 bytes. With coded weights,
    files of six data sets had 0.5 to 1.6 times as many. What ``max_error`` adds and what
    ``target_psnr`` changes depends on the data and is not in it. ``ratio``: float32 bytes of the
    volume over them.
    """

    networks: int
    parameters: int
    bytes: int
    ratio: float

    @classmethod
    def of(cls, siren: SirenConfig, grid: Grid, components: int, config: EncodeConfig) -> Estimate:
        """Of networks of the shape ``siren`` on ``grid``, which are encoded with ``config``."""
        networks = BrickLayout.of(grid.dims, siren.brick_size).bricks
        parameters = siren.parameters(components)
        volume = 4 * grid.voxels * components
        size = float(_FILE_BYTES)
        if config.weights == "coded":
            kept = parameters
            if config.adapt == "modulation":
                kept -= siren.hidden_layers * siren.width**2
            size += networks * kept * _coded_bits(config.coding_loss) / 8
            if config.target_ratio:
                size = min(size, volume / config.target_ratio)
        else:
            size += networks * parameters * BITS[config.weights] / 8
            size += 2 * (siren.hidden_layers + 2) * _TENSOR_BYTES
        return cls(networks, parameters, round(size), volume / size)


def _coded_bits(loss: float) -> float:
    """Bits of a weight whose rounding may cost ``loss`` dB: one more for a quarter of its noise."""
    usual = EncodeConfig().coding_loss
    more = math.log2(_noise(usual) / _noise(loss)) / 2
    return max(BITS["coded"] + more, 0.5)


def _noise(loss: float) -> float:
    """Of the mean squared error, the share that ``loss`` dB more are."""
    return 10 ** (loss / 10) - 1
