"""Fits that went wrong: known by their error, against that of a constant and that of the start."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from .errors import ArchiveError, MetaINRWarning
from .metrics import Errors, psnr
from .records import step_names
from .siren import Siren
from .weights import check_networks

# Of the learning rate: what a fit that came to nothing is tried again with, in turn.
SHARES = (1.0, 1 / 4, 1 / 16)
# A fit came to nothing when it is not 0.2 dB better than the step's mean value: that is where
# diverging ends if not beyond. So do noise at a high ratio and few passes from random weights,
# which is no reason to refuse them; being 1 dB worse than the mean and than the start is.
_NOTHING, _DIVERGED = 10 ** (-0.2 / 10), 10 ** (1 / 10)


@dataclass(frozen=True)
class Fit:
    """Networks of one step as they are stored, and their errors when decoded with ``precision``.

    ``codes``: of coded weights (``Rounding``). ``rate``: the learning rate.
    """

    siren: Siren
    codes: Tensor | None
    precision: str
    errors: Errors
    epochs: int
    rate: float

    @property
    def error(self) -> float:
        """Mean squared; infinite for what is no number."""
        error = self.errors.mean_squared
        return error if math.isfinite(error) else math.inf


@dataclass
class Outcome:
    """What an encode has to tell of its fits, in one warning of each kind.

    ``lowered``: learning rates of steps that came to nothing at a higher one; ``poor``: steps whose
    mean value is as good.
    """

    lowered: dict[int, float] = field(default_factory=dict)
    poor: list[int] = field(default_factory=list)

    def warn(self) -> None:
        for rate in sorted(set(self.lowered.values()), reverse=True):
            steps = sorted(s for s, r in self.lowered.items() if r == rate)
            _warn(
                f"the fit of {step_names(steps)} diverged and was made again at"
                f" learning_rate {rate:g}"
            )
        if self.poor:
            verb, whose = ("is", "its") if len(self.poor) == 1 else ("are", "their")
            _warn(
                f"{step_names(sorted(self.poor))} {verb} no better than {whose} mean value;"
                " more epochs, another learning_rate, a wider network or a lower ratio may help"
            )


def _warn(message: str) -> None:
    warnings.warn(message, MetaINRWarning, stacklevel=4)


def constant_error(volume: np.ndarray) -> float:
    """Mean squared error of each component's mean, for ``(nz, ny, nx, components)``."""
    mean = volume.mean((0, 1, 2), dtype=np.float64)
    return Errors.between(volume, np.broadcast_to(mean, volume.shape)).mean_squared


def came_to_nothing(error: float, constant: float) -> bool:
    """``constant``: ``constant_error`` of the step."""
    return not error < _NOTHING * constant


def has_diverged(error: float, constant: float, start: float) -> bool:
    """``start``: mean squared error of the weights before the fit."""
    known = max(constant, start if math.isfinite(start) else constant)
    return not error <= _DIVERGED * known < math.inf


def problem_of_round(siren: Siren, loss: float, worst: float) -> str:
    """What is wrong with a round of pretraining, if anything.

    ``siren``: its weights; ``worst``: what a useful prior's loss is not far above.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    # The last step of a round, or the outer one, comes after the loss was measured.
    try:
        check_networks(siren)
    except ArchiveError as error:
        return str(error)
    if loss > _DIVERGED * worst:
        return f"the loss is {loss:.3g}, and random weights or a constant have {worst:.3g}"
    return ""


def described(best: Fit, constant: float, width: float, rates: Collection[float]) -> str:
    """Of a fit that diverged at all ``rates``: what happened, and the cure. ``width``: the range of
    the step's values."""
    what = "the fit diverged"
    if math.isfinite(best.error):
        found, mean = psnr(best.error, width), psnr(constant, width)
        what += f": {found:.1f} dB, where the mean value alone has {mean:.1f}"
    return f"{what}; lower learning_rate (tried {', '.join(f'{r:g}' for r in rates)})"
