"""VTK's marks on points and cells that are blanked, or are somebody else's."""

from __future__ import annotations

import numpy as np

from .series import GHOSTS, Series

# vtkDataSetAttributes: HIDDENPOINT, HIDDENCELL. Duplicates at the seams of partitions are values
# like any other.
_HIDDEN = {"point": 2, "cell": 32}


def warn_of_hidden(series: Series, step: int, ghosts: np.ndarray) -> None:
    """One MetaINRWarning for the series when the array ``GHOSTS`` of a step hides values."""
    association = series.grid.association
    if ghosts.dtype != np.uint8:
        return  # not VTK's
    hidden = int(np.count_nonzero(ghosts & _HIDDEN[association]))
    if hidden:
        series.warn_once(
            "hidden",
            f"{series.where(step)}: {hidden} {association}s are blanked ({GHOSTS}); their values"
            " are learned like any other, and nothing is blanked in what is decoded",
        )
