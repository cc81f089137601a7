"""How good a reconstruction is: the one figure that all curves share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metainr_core import Series
from metainr_core.metrics import Errors, psnr

DIVERGED = 0.0  # dB, for a result that is no number
_LIMIT = 200.0  # dB, so that a result without error is a number too


@dataclass(frozen=True)
class Scorer:
    """PSNR in dB over the range of all steps of a series, of float32 values in data units."""

    series: Series

    def __call__(self, step: int, decoded: np.ndarray) -> float:
        original = self.series.read(step)
        error = Errors.between(original, decoded.reshape(original.shape)).mean_squared
        value = psnr(error, self.series.value_range().width)
        return min(value, _LIMIT) if not math.isnan(value) else DIVERGED


def choose_steps(total: int, wanted: int) -> list[int]:
    """Evenly spread steps with odd numbers, which no prior here has read where every 2nd or 4th
    step is sampled; of a series too short for that, any."""
    candidates = list(range(1, total, 2)) or [0]
    picks = np.linspace(0, len(candidates) - 1, min(wanted, len(candidates)))
    return [candidates[round(float(p))] for p in picks]


def method(
    key: str,
    label: str,
    network: str,
    parameters: int,
    rows: list[dict[str, float]],
    *,
    pretrain_seconds: float = 0.0,
    note: str = "",
    grid: Sequence[object] = (),
) -> dict[str, object]:
    """What a curve is: ``rows`` have ``epochs``, ``step``, ``seconds`` and ``psnr``.

    ``grid``: what was tried to tune it.
    """
    return {
        "key": key,
        "label": label,
        "network": network,
        "parameters": parameters,
        "rows": rows,
        "pretrain_seconds": pretrain_seconds,
        "note": note,
        "grid": list(grid),
    }
