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
# Another library or device decodes other last digits. What products in float64 change, on so many
# planes, is how far off decoding is here; another one may be as far off on the other side, and
# further where nobody looked.
_SLACK_PLANES, _SLACK = 16, 6


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
        residual = compress(volume, decoded, bound, self._slack(siren, decoded))
        decoded += decompress(residual, decoded.shape)
        return Errors.between(volume, decoded), residual

    def _slack(self, siren: Siren, decoded: np.ndarray) -> float:
        """By how much decoding in fp32 may differ elsewhere, in the data's units."""
        planes = np.unique(np.linspace(0, len(decoded) - 1, _SLACK_PLANES).astype(int))
        exact = self._decoded(siren, torch.float64, planes)
        # The last bias holds the centre of the values.
        digits = 2 * np.spacing(np.abs(decoded).max())
        return _SLACK * float(np.abs(decoded[planes] - exact).max()) + float(digits)

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
