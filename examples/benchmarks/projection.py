"""Do weights that start from one prior tell members of an ensemble apart, and keep time in order?

    python examples/benchmarks/projection.py SERIES [SERIES…] [--png MAPS.png] [--epochs N]

Encodes series and ensembles (data.csv of Cinema Spec D) from one prior and from random weights,
projects every archive, and measures among the weights and on the maps how well members separate
and how continuous time is. The distances of the volumes themselves are the reference. Prints a
Markdown table; needs scikit-learn and SciPy, and matplotlib for the picture.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.markdown import table

from metainr_core import (
    Archive,
    EncodeConfig,
    MetaINRError,
    PretrainConfig,
    Prior,
    Series,
    encode,
    open_series,
    pretrain,
)
from metainr_core.extras import extra
from metainr_core.figures import color_scale, draw_map, draw_members, new_figure
from metainr_core.gram import distances, gram_matrix
from metainr_core.layout import BrickLayout
from metainr_core.projection import Projection, project
from metainr_core.siren import initialize
from metainr_core.training import random_generator

STARTS = {
    "meta": "one prior",
    "previous": "the step before (key frames: one prior)",
    "shared": "one random start",
    "random": "random weights of its own",
}
PANELS = ("meta", "shared", "random")
DATA = "(the volumes)"
COLUMNS = ("silhouette", "own", "jump", "after", "order")
_PURPOSE = "this measurement"


def archive_of(series: Series, prior: Prior, start: str, epochs: int, folder: Path) -> Archive:
    """All steps of the ensemble, with the default settings."""
    if start == "shared":
        generator = random_generator(0)
        shape = BrickLayout.of(series.grid.dims, prior.siren_config.brick_size).brick_shape
        drawn = initialize(prior.siren_config, 1, series.components, generator, shape)
        prior = dataclasses.replace(prior, siren=drawn)
    init = {"shared": "meta"}.get(start, start)
    siren = prior.siren_config if init == "random" else None
    config = EncodeConfig(init=init, siren=siren, epochs=epochs)
    given = None if init == "random" else prior
    return encode(series, folder / f"{start}.minr", prior=given, config=config)


def measure(distance: np.ndarray, found: Projection) -> dict[str, float]:
    """Of distances ``(n, n)`` between the steps of ``found``.

    Of an ensemble, ``silhouette`` of the members: 1 when they are far apart, 0 when they mix;
    ``own``: share of the steps whose nearest step is of their own member. Means over the members:
    ``jump``, distance of successive steps over that of all pairs; ``after``, the same of the steps
    after a step and after the nearest step of its member; both 1 where time does not matter.
    ``order``: Spearman's correlation of time difference and distance.
    """
    metrics, stats = extra("sklearn.metrics", _PURPOSE), extra("scipy.stats", _PURPOSE)
    times, means = np.array(found.times), []
    for path in found.paths:
        own, when = distance[np.ix_(path, path)], times[path]
        pairs = np.triu_indices(len(path), 1)
        all_pairs = own[pairs].mean()
        first = nearest(own[:-1, :-1])
        after = own[np.arange(1, len(path)), first + 1]
        apart = np.abs(when[:, None] - when)[pairs]
        order = stats.spearmanr(apart, own[pairs]).statistic
        means.append((own.diagonal(1).mean() / all_pairs, after.mean() / all_pairs, order))
    jump, after_nearest, order = np.mean(means, axis=0)
    apart = {}
    if len(found.members) > 1:
        member = np.array(found.member)
        silhouette = metrics.silhouette_score(distance, member, metric="precomputed")
        apart = {"silhouette": silhouette, "own": (member[nearest(distance)] == member).mean()}
    return {**apart, "jump": jump, "after": after_nearest, "order": order}


def nearest(distance: np.ndarray) -> np.ndarray:
    """The nearest other one of each."""
    others = distance + np.diag(np.full(len(distance), np.inf))
    return others.argmin(axis=1)


def likeness(distance: np.ndarray, reference: np.ndarray) -> float:
    """Spearman's correlation of two tables of distances, over all pairs."""
    pairs = np.triu_indices(len(distance), 1)
    stats = extra("scipy.stats", _PURPOSE)
    return stats.spearmanr(distance[pairs], reference[pairs]).statistic


def volume_distances(series: Series) -> np.ndarray:
    volumes = np.array([series.read(step).ravel() for step in range(len(series))], np.float64)
    return distances(volumes @ volumes.T)


def rows_of(
    start: str, psnr: str, weights: np.ndarray, found: Projection, data: np.ndarray
) -> list[str]:
    points = found.positions
    on_map = np.linalg.norm(points[:, None] - points, axis=-1)
    pair = measure(weights, found), measure(on_map, found)
    figures = [cell(*(side.get(key) for side in pair)) for key in COLUMNS]
    return [start, psnr, *figures, cell(likeness(weights, data), likeness(on_map, data))]


def cell(*values: float | None) -> str:
    return " / ".join("–" if value is None else f"{value:.2f}" for value in values)


def draw(maps: Sequence[dict[str, Projection]], file: Path) -> None:
    """A row of maps for each series, coloured by time."""
    figure = new_figure((4.4 * len(PANELS), 4.2 * len(maps)), 100)
    grid = figure.subplots(len(maps), len(PANELS), squeeze=False)
    for panels, row in zip(grid, maps, strict=True):
        for axes, start in zip(panels, PANELS, strict=True):
            draw_map(axes, row[start])
            draw_members(axes, row[start])
            axes.set(title=STARTS[start], xlabel="", ylabel="")
            axes.tick_params(labelsize=8)
        scale = color_scale(row[PANELS[0]].times)
        figure.colorbar(scale, ax=list(panels), label="time", fraction=0.02, pad=0.01)
    figure.savefig(file, bbox_inches="tight")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("series", nargs="+", metavar="SERIES", help="as metainr encode takes it")
    parser.add_argument("--png", type=Path, help="the maps side by side")
    parser.add_argument("--epochs", type=int, default=2, help="passes of a step (default: 2)")
    options = parser.parse_args(arguments)
    try:
        maps = [run(open_series(name), options.epochs) for name in options.series]
        if options.png:
            draw(maps, options.png)
    except MetaINRError as error:
        sys.exit(f"error: {error}")


def run(series: Series, epochs: int) -> dict[str, Projection]:
    """Prints the table of one series; returns its maps by the start."""
    started = time.perf_counter()
    prior = pretrain(series, PretrainConfig())
    data, rows, maps = volume_distances(series), [], {}
    with tempfile.TemporaryDirectory() as folder:
        for start, name in STARTS.items():
            archive = archive_of(series, prior, start, epochs, Path(folder))
            found = maps[start] = project(archive)
            weights = distances(gram_matrix(archive, archive.steps))
            psnr = mean(record.psnr_series for record in archive.records)
            rows.append(rows_of(name, f"{psnr:.1f}", weights, found, data))
            print(f"  {name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    reference = measure(data, found)
    rows.append([DATA, "", *(cell(reference.get(key)) for key in COLUMNS), ""])
    print(f"{series.name}, {len(series)} steps\n")
    print(table(f"start of a step | PSNR dB | {' | '.join(COLUMNS)} | like the volumes", rows))
    return maps


if __name__ == "__main__":
    main()
