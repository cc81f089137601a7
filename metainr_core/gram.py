"""Inner products of the weights of an archive's steps: all that their distances depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .errors import ArchiveError, MetaINRError
from .memory import free_memory
from .series import Progress, no_progress

if TYPE_CHECKING:
    from .archive import Archive

# Numbers of one operand of a product that are float64 at a time.
_PART = 1 << 22
_TABLES = 5  # of n x n float64 that are there at once, here and in what uses the result


def gram_matrix(
    archive: Archive, steps: Sequence[int], progress: Progress = no_progress
) -> np.ndarray:
    """Inner products of the steps' flattened weights: ``(n, n)`` float64, in float64 arithmetic.

    The weights, of all bricks, are taken relative to those of the first step: steps that start
    from one prior differ by little. A quarter of the free memory holds a block of steps, and as
    much the steps that they are multiplied with. All n fit at once, or the steps after a block
    are read again for each block, always in order, so that of chained steps each is decoded once
    each time. Raises MetaINRError when not even blocks of one step fit.
    """
    count = len(steps)
    origin = _flat(archive, steps[0])
    block = _block(count, origin.nbytes)
    starts = range(0, count, block)
    loads = sum(count - start for start in starts)
    done = 0

    def read(start: int) -> np.ndarray:
        nonlocal done
        part = np.empty((min(block, count - start), origin.size), np.float32)
        for row, step in zip(part, steps[start : start + block], strict=False):
            progress(done / loads, f"weights of step {step}")
            done += 1
            np.subtract(_flat(archive, step), origin, out=row)
        return part

    gram = np.empty((count, count))
    for first in starts:
        held = read(first)
        for start in range(first, count, block):
            other = held if start == first else read(start)
            place = np.s_[first : first + len(held), start : start + len(other)]
            gram[place] = _products(held, other, lambda: progress(done / loads, "distances"))
            gram.T[place] = gram[place]
    # Rounding may differ between the two halves.
    return (gram + gram.T) / 2


def distances(gram: np.ndarray) -> np.ndarray:
    """Euclidean distances ``(n, n)`` of what has these inner products."""
    squared = gram.diagonal() + gram.diagonal()[:, None] - 2 * gram
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)


def _flat(archive: Archive, step: int) -> np.ndarray:
    flat = archive.load_step(step).flat().reshape(-1).numpy()
    if not np.isfinite(flat).all():
        raise ArchiveError(f"step {step} of {archive.path} has infinite weights; encode it again")
    return flat


def _block(count: int, size: int) -> int:
    """Steps of ``size`` bytes in a block."""
    free = free_memory()
    # The first step, the one being read, and what it is stored as a difference to.
    rest = _TABLES * 8 * count**2 + 4 * size + 4 * 8 * _PART
    block = (free - rest) // 4 // size
    if block < 1:
        raise MetaINRError(
            f"a map of {count} steps of {size // 4} weights needs {(rest + 4 * size) / 2**30:.3g}"
            f" GiB, and {free / 2**30:.3g} GiB are free; take fewer steps"
        )
    return min(block, count)


def _products(a: np.ndarray, b: np.ndarray, between: Callable[[], None]) -> np.ndarray:
    """``a @ b.T`` in float64, without a float64 copy of either."""
    result = np.zeros((len(a), len(b)))
    columns = max(_PART // max(len(a), len(b)), 1)
    for start in range(0, a.shape[1], columns):
        between()
        part = np.s_[:, start : start + columns]
        result += a[part].astype(np.float64) @ b[part].astype(np.float64).T
    return result
