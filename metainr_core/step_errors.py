"""Errors of a fitted step: of what ``decode`` will return on the device it takes by default."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .archive import Archive
from .decode import decode_grid
from .metrics import Errors
from .residual import compress, decompress
from .siren import Siren

# Mean squared error that decoding in bf16 may add, 0.05 dB, and planes on which that is judged.
_BF16_LOSS, _JUDGED_PLANES = 10 ** (0.05 / 10), 4
# By how much of half the value range decoding in fp32 differs between libraries: 6e-6 was measured
# between PyTorch and the fused library.
_SLACK = 2e-5


@dataclass(frozen=True)
class StepErrors:
    """For the steps of one archive. ``dtype``: of the products in training."""

    archive: Archive
    device: torch.device
    dtype: torch.dtype

    def measure(self, siren: Siren, volume: np.ndarray) -> tuple[str, Errors]:
        """Precision to decode with, and the errors then; ``volume`` ``(nz, ny, nx, components)``.

        The precision is bf16 where training's is and nothing is lost by it, judged on some planes.
        """
        precision = "fp32"
        if self.dtype == torch.bfloat16:
            planes = np.unique(np.linspace(0, len(volume) - 1, _JUDGED_PLANES).astype(int))
            exact, fast = (
                Errors.between(volume[planes], self._decoded(siren, dtype, planes))
                for dtype in (torch.float32, torch.bfloat16)
            )
            if fast.mean_squared <= _BF16_LOSS * exact.mean_squared:
                precision = "bf16"
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return precision, Errors.between(volume, self._decoded(siren, dtype))

    def bounded(self, siren: Siren, volume: np.ndarray, bound: float) -> tuple[Errors, bytes]:
        """What has to be added to the volume, decoded in fp32, so that no value is further than
        ``bound`` from its original (data units), and the errors then.

        Raises SettingsError when the bound is too small.
        """
        decoded = self._decoded(siren, torch.float32)
        _, half = self.archive.header.value_range.scale()
        residual = compress(volume, decoded, bound, _SLACK * float(half.max()))
        decoded += decompress(residual, decoded.shape)
        return Errors.between(volume, decoded), residual

    def _decoded(
        self, siren: Siren, dtype: torch.dtype, planes: np.ndarray | None = None
    ) -> np.ndarray:
        """All values, or those in planes of constant z."""
        x, y, z = self.archive.grid.index_coordinates(self.archive.grid)
        if planes is not None:
            z = z[planes]
        centre, half = self.archive.header.value_range.scale()
        siren = siren.to(self.device)
        return decode_grid(siren, self.archive.layout, (x, y, z), centre, half, dtype=dtype)
