"""Where the steps of an archive lie in the space of their networks' weights, as a map.

Meta-INR (arXiv 2502.09669) shows by t-SNE (van der Maaten and Hinton 2008) that
steps that are fitted from one prior keep their order in time, and members of an ensemble apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ArchiveError, SettingsError
from .extras import extra
from .gram import distances, gram_matrix
from .members import Member, member_of
from .series import Progress, no_progress

if TYPE_CHECKING:
    from .archive import Archive

METHODS = ("tsne", "pca")
_PURPOSE = "the map of the steps"
# Of sklearn.manifold.TSNE with init="pca": spread of the first axis at the start.
_START = 1e-4
# Steps up to which t-SNE's forces are summed without approximation, which takes seconds.
_EXACT = 250


@dataclass(frozen=True)
class Projection:
    """A map of ``n`` steps, in step order.

    ``x``, ``y``: ``(n,)`` float64; of PCA in the units of the weights. ``members``: those with
    steps on the map; ``member``: the place in ``members`` that each step belongs to. ``method``:
    the one that was used. ``perplexity``: of t-SNE, 0 otherwise. ``explained_variance``: shares
    of the weights' variance that x and y of PCA show, empty for t-SNE.
    """

    steps: tuple[int, ...]
    times: tuple[float, ...]
    members: tuple[Member, ...]
    member: tuple[int, ...]
    x: np.ndarray
    y: np.ndarray
    method: str
    perplexity: float = 0.0
    explained_variance: tuple[float, ...] = ()

    @classmethod
    def outline(cls, archive: Archive, steps: Sequence[int] | None = None) -> Projection:
        """The steps (None: all) without a map: all at the origin. Raises ArchiveError."""
        chosen = archive.steps if steps is None else sorted(set(steps))
        if not chosen:
            raise ArchiveError(f"{archive.path} holds no encoded step yet; encode one first")
        times = {record.step: record.time for record in archive.records}
        for unknown in set(chosen).difference(times):
            archive.record(unknown)  # says which there are
        members = [m for m in archive.members if any(step in m.steps for step in chosen)]
        return cls(
            steps=tuple(chosen),
            times=tuple(times[step] for step in chosen),
            members=tuple(members),
            member=tuple(members.index(member_of(members, step)) for step in chosen),
            x=np.zeros(len(chosen)),
            y=np.zeros(len(chosen)),
            method="pca",
        )

    @property
    def positions(self) -> np.ndarray:
        """``(n, 2)`` float64."""
        return np.stack([self.x, self.y], axis=1)

    @property
    def paths(self) -> list[np.ndarray]:
        """For each member the places of its steps in ``steps``, along time."""
        member = np.array(self.member)
        return [np.flatnonzero(member == m) for m in range(len(self.members))]

    @property
    def parameters(self) -> dict[str, list[float | str]]:
        """A value for each step by the name of the parameter; NaN or "" where a member has none."""
        names = dict.fromkeys(name for m in self.members for name in m.parameters)
        result: dict[str, list[float | str]] = {}
        for name in names:
            known = [m.parameters[name] for m in self.members if name in m.parameters]
            is_text = any(isinstance(value, str) for value in known)
            nothing: float | str = "" if is_text else math.nan
            values = [m.parameters.get(name, nothing) for m in self.members]
            of_member = [str(v) if is_text else float(v) for v in values]
            result[name] = [of_member[m] for m in self.member]
        return result

    def columns(self, selected: Sequence[int] = ()) -> dict[str, list[Any]]:
        """The map as a table; ``selected``: steps that get 1 in the column of that name.

        ``member`` is its name. A parameter that is called like a column gets "parameter" added.
        """
        first = {
            "step": list(self.steps),
            "time": list(self.times),
            "member": [self.members[m].name for m in self.member],
        }
        last = {
            "x": self.x.tolist(),
            "y": self.y.tolist(),
            "selected": [int(step in set(selected)) for step in self.steps],
        }
        taken = {*first, *last}
        middle = {
            f"{name} (parameter)" if name in taken else name: values
            for name, values in self.parameters.items()
        }
        return {**first, **middle, **last}


def project(
    archive: Archive,
    method: str = "tsne",
    *,
    perplexity: float = 0.0,
    steps: Sequence[int] | None = None,
    progress: Progress = no_progress,
) -> Projection:
    """The steps (None: all) of an archive in two dimensions, from their flattened weights.

    ``method``: ``tsne`` (scikit-learn's) or ``pca``. ``perplexity``: about how many neighbours a
    step has in t-SNE; 0 takes a third of the other steps, at most 30. Both methods need only the
    distances between the steps, which come exactly from their inner products, so that memory
    grows with the square of the steps and does not with the weights (``gram_matrix``). t-SNE
    starts from PCA and draws nothing at random: the same archive gives the same map. A plane
    holds the distances of up to three steps exactly, and equal weights have none: then PCA is
    what ``tsne`` gives. Raises MetaINRError.
    """
    if method not in METHODS:
        raise SettingsError(f"method is {method!r}; one of {', '.join(METHODS)}")
    outline = Projection.outline(archive, steps)
    count = len(outline.steps)
    perplexity = _perplexity(perplexity, count)
    # Missing packages show before the work.
    linalg = extra("scipy.linalg", _PURPOSE)
    manifold = extra("sklearn.manifold", _PURPOSE) if method == "tsne" else None
    gram = gram_matrix(archive, outline.steps, lambda share, text: progress(0.5 * share, text))
    positions, shares = _principal(linalg, gram)
    if manifold is not None and count > 3 and positions.any():
        progress(0.5, f"t-SNE of {count} steps")
        positions, shares = _tsne(manifold, gram, positions, perplexity), ()
    else:
        method, perplexity = "pca", 0.0
    progress(1.0, "projected")
    return replace(
        outline,
        x=np.ascontiguousarray(positions[:, 0]),
        y=np.ascontiguousarray(positions[:, 1]),
        method=method,
        perplexity=perplexity,
        explained_variance=shares,
    )


def _perplexity(asked: float, count: int) -> float:
    if not asked:
        return max(min(30.0, (count - 1) / 3), 1.0)
    if not 1 <= asked <= count - 1:
        expected = f" or 1 to {count - 1}, the neighbours that a step has"
        if count < 2:
            expected = ", as there is one step"
        raise SettingsError(f"perplexity is {asked:g}; expected 0 (chosen){expected}")
    return float(asked)


def _principal(linalg: Any, gram: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    """Principal components ``(n, 2)`` and their shares of the variance, from inner products."""
    count, mean = len(gram), gram.mean(axis=0)
    centred = gram - mean - mean[:, None] + mean.mean()
    total = float(np.trace(centred))
    positions, shares = np.zeros((count, 2)), (0.0, 0.0)
    if count == 1 or total <= 0:
        return positions, shares
    values, vectors = linalg.eigh(centred, subset_by_index=(count - 2, count - 1))
    # Rounding gives directions without variance a little.
    values = np.where(values > count * np.finfo(float).eps * total, values, 0)[::-1]
    positions = vectors[:, ::-1] * np.sqrt(values)
    largest = np.abs(positions).argmax(axis=0)
    positions *= np.where(positions[largest, [0, 1]] < 0, -1, 1)
    return positions, tuple(float(v) for v in values / total)


def _tsne(manifold: Any, gram: np.ndarray, start: np.ndarray, perplexity: float) -> np.ndarray:
    count = len(gram)
    model = manifold.TSNE(
        perplexity=perplexity,
        metric="precomputed",
        init=(start / start[:, 0].std() * _START).astype(np.float32),
        # scikit-learn's own rate is 50 at least, which throws few points far apart.
        learning_rate=max(min(count / 12, 50.0), count / 48, 1.0),
        method="exact" if count <= _EXACT else "barnes_hut",
    )
    return model.fit_transform(distances(gram)).astype(np.float64)
