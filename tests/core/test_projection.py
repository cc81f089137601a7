"""The map of an archive's steps: against scikit-learn on the weights themselves."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metainr_core.archive import Archive
from metainr_core.errors import ArchiveError, MetaINRError, SettingsError
from metainr_core.projection import project
from tests.core.archives import HEADER, INFO, networks, record

pytest.importorskip("sklearn")
MEMBERS = [
    {"name": "slow", "first": 0, "count": 6, "parameters": {"Re": 160, "x": "a"}},
    {"name": "none", "first": 6, "count": 1, "parameters": {}},
    {"name": "fast", "first": 7, "count": 5, "parameters": {"Re": 320.5, "grid": 2}},
]


def make(folder: Path, steps: Sequence[int], **info: Any) -> Archive:
    """Steps of random networks, each a little further along one direction."""
    archive = Archive.create(folder / "run.minr", HEADER, {**INFO, **info})
    start, end = networks(100), networks(101)
    for step in steps:
        noise = networks(step).map(lambda t: 0.3 * t)
        tensors = zip(start.tensors, end.tensors, noise.tensors, strict=True)
        moved = start.with_tensors([a + 0.1 * step * b + c for a, b, c in tensors])
        archive.write_step(record(step), moved)
    return archive


def weights_of(archive: Archive) -> np.ndarray:
    return np.array([archive.load_step(s).flat().numpy().ravel() for s in archive.steps])


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_pca_is_that_of_the_weights(tmp_path: Path, count: int) -> None:
    from sklearn.decomposition import PCA

    archive = make(tmp_path, range(count))
    found = project(archive, "pca")
    model = PCA(n_components=2).fit(weights_of(archive).astype(np.float64))
    expected = model.transform(weights_of(archive).astype(np.float64))
    signs = np.sign((found.positions * expected).sum(axis=0))
    assert found.positions * signs == pytest.approx(expected, abs=1e-5)
    assert found.explained_variance == pytest.approx(model.explained_variance_ratio_, abs=1e-6)
    # The sign, which the method leaves open, is settled.
    largest = np.abs(found.positions).argmax(axis=0)
    assert (found.positions[largest, [0, 1]] >= 0).all()
    assert (found.method, found.perplexity) == ("pca", 0)


@pytest.mark.parametrize("perplexity", [0, 2, 7])
def test_tsne_is_that_of_the_weights(tmp_path: Path, perplexity: float) -> None:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    archive = make(tmp_path, range(16))
    found = project(archive, perplexity=perplexity)
    assert found.method == "tsne"
    assert found.perplexity == (perplexity or 5)
    weights = weights_of(archive).astype(np.float64)
    start = PCA(n_components=2).fit_transform(weights)
    flat = project(archive, "pca").positions
    start *= np.sign((start * flat).sum(axis=0))
    start *= 1e-4 / start[:, 0].std()
    model = TSNE(
        perplexity=found.perplexity,
        init=start.astype(np.float32),
        learning_rate=16 / 12,
        method="exact",
    )
    expected = model.fit_transform(weights)
    # Where points end depends a little on the rounding at the start.
    ours, theirs = (np.linalg.norm(p[:, None] - p, axis=-1) for p in (found.positions, expected))
    assert ours == pytest.approx(theirs, abs=0.05 * theirs.max())
    assert (project(archive, perplexity=perplexity).positions == found.positions).all()


def test_tsne_keeps_neighbours_in_time_together(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "run.minr", HEADER, INFO)
    start, one, two = (networks(seed) for seed in (1, 2, 3))
    for step in range(40):  # along a circle
        a, b = math.cos(step / 8), math.sin(step / 8)
        tensors = zip(start.tensors, one.tensors, two.tensors, strict=True)
        archive.write_step(
            record(step), start.with_tensors([s + a * t + b * u for s, t, u in tensors])
        )
    positions = project(archive).positions
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (np.abs(distances.argmin(axis=0) - np.arange(40)) <= 2).all()


def test_one_step_is_the_origin(tmp_path: Path) -> None:
    found = project(make(tmp_path, [4]))
    assert found.steps == (4,)
    assert found.times == (2.0,)
    assert found.positions.tolist() == [[0.0, 0.0]]
    assert found.explained_variance == (0.0, 0.0)


@pytest.mark.parametrize("count", [2, 3])
def test_few_steps_keep_their_distances(tmp_path: Path, count: int) -> None:
    archive = make(tmp_path, range(count))
    found, weights = project(archive), weights_of(archive)
    assert found.method == "pca"
    for i in range(count):
        for j in range(i):
            expected = np.linalg.norm(weights[i] - weights[j])
            assert math.dist(found.positions[i], found.positions[j]) == pytest.approx(
                expected, rel=1e-5
            )
    assert sum(found.explained_variance) == pytest.approx(1)


def test_equal_weights_are_one_point(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "run.minr", HEADER, INFO)
    for step in range(5):
        archive.write_step(record(step), networks(0))
    assert not project(archive).positions.any()
    assert project(archive).method == "pca"


def test_members_and_their_parameters(tmp_path: Path) -> None:
    archive = make(tmp_path, [0, 2, 3, 7, 8, 9, 11], members=MEMBERS)
    found = project(archive, "pca")
    assert [m.name for m in found.members] == ["slow", "fast"]
    assert found.member == (0, 0, 0, 1, 1, 1, 1)
    assert [p.tolist() for p in found.paths] == [[0, 1, 2], [3, 4, 5, 6]]
    table = found.columns([0, 11])
    assert list(table) == [
        "step",
        "time",
        "member",
        "Re",
        "x (parameter)",
        "grid",
        "x",
        "y",
        "selected",
    ]
    assert table["Re"] == [160.0] * 3 + [320.5] * 4
    assert table["x (parameter)"] == ["a"] * 3 + [""] * 4
    assert np.isnan(table["grid"][:3]).all()
    assert table["grid"][3:] == [2.0] * 4
    assert table["member"] == ["slow"] * 3 + ["fast"] * 4
    assert table["selected"] == [1, 0, 0, 0, 0, 0, 1]
    assert table["x"] == found.x.tolist()


def test_some_steps_only(tmp_path: Path) -> None:
    archive = make(tmp_path, range(9))
    found = project(archive, "pca", steps=[7, 2, 2, 5])
    assert found.steps == (2, 5, 7)
    with pytest.raises(ArchiveError, match="holds no step 12"):
        project(archive, steps=[1, 12])


@pytest.mark.parametrize(
    ("count", "settings", "message"),
    [
        (8, {"method": "umap"}, "method is 'umap'; one of tsne, pca"),
        (
            8,
            {"perplexity": 8},
            "perplexity is 8; expected 0 (chosen) or 1 to 7, the neighbours that",
        ),
        (8, {"perplexity": 0.5}, "perplexity is 0.5; expected 0 (chosen) or 1 to 7"),
        (8, {"perplexity": -1}, "perplexity is -1; expected 0 (chosen) or 1 to 7"),
        (8, {"perplexity": math.nan}, "perplexity is nan; expected 0 (chosen) or 1 to 7"),
        (1, {"perplexity": 1}, "perplexity is 1; expected 0 (chosen), as there is one step"),
        (0, {}, "run.minr holds no encoded step yet; encode one first"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, count: int, settings: dict[str, Any], message: str
) -> None:
    archive = make(tmp_path, range(count))
    with pytest.raises(MetaINRError) as caught:
        project(archive, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_infinite_weights_are_named(tmp_path: Path) -> None:
    archive = make(tmp_path, range(4))
    broken = networks(4).map(lambda t: t / torch.zeros(()))
    archive.write_step(record(4), broken)
    with pytest.raises(ArchiveError, match=r"step 4 of .*run\.minr has infinite weights"):
        project(archive)


def test_without_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make(tmp_path, range(4))
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(MetaINRError, match=r"needs sklearn, .* pip install 'metainr\[compare\]'"):
        project(archive)
    assert project(archive, "pca").method == "pca"


def test_perplexity_is_checked_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(tmp_path, range(4))
    monkeypatch.setattr(archive, "load_step", lambda _: pytest.fail("was read"))
    with pytest.raises(SettingsError):
        project(archive, perplexity=40)
