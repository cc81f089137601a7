"""The paper's comparison on one series: each method's fits of the same steps, as curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from statistics import mean
from typing import Any

from metainr_core import Prior, SirenConfig, choose_siren
from metainr_core.layout import BrickLayout

from .baselines import Tuned
from .paper_fits import Fits
from .paper_methods import (
    Method,
    PaperSettings,
    methods,
    prior_configs,
    tuned,
    tuning_grid,
)
from .plain import Recipe
from .published import ROUNDS
from .score import choose_steps, method


@dataclasses.dataclass
class Curves:
    """All methods on one series. ``common``: device and precision of every fit and prior."""

    fits: Fits
    settings: PaperSettings
    common: Mapping[str, Any]
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        series = self.fits.series
        self.steps = choose_steps(len(series), self.settings.steps)
        self.own = choose_siren(series.grid, series.components)
        self.priors: dict[str, tuple[Prior, float]] = {}

    def words(self, dims: tuple[int, ...]) -> str:
        """What was measured, and how much smaller than published. ``dims``: of the whole."""
        settings, series = self.settings, self.fits.series
        grid, batch = series.grid, settings.batch(series.grid)
        size, whole = ("×".join(map(str, n)) for n in (grid.dims, dims))
        thinned = (
            f"one voxel in {settings.every} per axis of {whole}: " if dims != grid.dims else ""
        )
        precision = "bf16 instead of fp32" if self.common["precision"] == "bf16" else "fp32"
        steps = ", ".join(map(str, self.steps))
        return (
            f"Steps {steps} of {len(series)}, means over them; {thinned}{size}."
            f" Published procedure with {settings.rounds} of {ROUNDS} outer rounds;"
            f" minibatches of {batch} voxels instead of 50,000, {-(-grid.voxels // batch)} a pass;"
            f" products in {precision}. Epochs and rates are the published ones. Seconds are"
            " the processor's, of the fit loop and of pretraining;"
            " bytes in all are extrapolated from these steps to the series, prior included."
        )

    def learn(self) -> None:
        """The priors that methods start from."""
        for name, config in prior_configs(self.settings, self.common).items():
            self.say(f"  prior {name}")
            self.priors[name] = self.fits.prior(config)

    def all_methods(self) -> list[Method]:
        """With the tuned ones, which are tuned first."""
        self.fits.warm()
        grid = self.fits.series.grid
        found = methods(self.settings, grid, self.common, self.own)
        return [found[0], *map(self._tuned, ("tuned", "tuned_own")), *found[1:]]

    def measure(self, chosen: list[Method]) -> Iterator[list[dict[str, Any]]]:
        """The curves of the steps done so far, after each step.

        A step's fits follow each other method by method, so that what else happens on the
        machine happens to all of them.
        """
        rows: dict[str, list[dict[str, Any]]] = {m.key: [] for m in chosen}
        for step in self.steps:
            for one in chosen:
                self.say(f"  step {step}: {one.label}")
                prior = self.priors[one.prior][0] if one.prior else None
                rows[one.key] += [
                    self.fits.row(one.key, step, prior, one.config(epochs)) for epochs in one.epochs
                ]
            yield [self._curve(one, rows[one.key]) for one in chosen]

    def _tuned(self, key: str) -> Method:
        """The best of the grid at the shorter shown length, on the first of the chosen steps."""
        settings, grid = self.settings, self.fits.series.grid
        epochs, table, best = settings.long_shown[0], [], None
        for one in tuning_grid(key, settings, grid, self.common, self.own):
            config = one.config(epochs)
            row = self.fits.row(key, self.steps[0], None, config)
            assert config.siren is not None
            tried = Tuned(
                Recipe(config.batch_size, config.learning_rate), config.siren.first_scale, []
            )
            table.append(
                {
                    "batch": config.batch_size,
                    "rate": config.learning_rate,
                    "first_scale": config.siren.first_scale,
                    "psnr": row["psnr_series"],
                }
            )
            if best is None or row["psnr_series"] > best[0]:
                best = row["psnr_series"], tried, config.siren
        assert best is not None
        _, found, siren = best
        words = dataclasses.replace(found, grid=table).words
        return tuned(
            key, settings, self.common, siren, found.recipe.batch, found.recipe.rate, words
        )

    def _curve(self, one: Method, rows: list[dict[str, Any]]) -> dict[str, Any]:
        prior, seconds = self.priors[one.prior] if one.prior else (None, 0.0)
        siren = prior.siren_config if prior else one.config(1).siren or SirenConfig()
        series = self.fits.series
        bricks = BrickLayout.of(series.grid.dims, siren.brick_size).bricks
        curve = method(
            one.key,
            one.label,
            f"{f'{bricks} × ' if bricks > 1 else ''}{siren.width}×{siren.hidden_layers}",
            bricks * siren.parameters(series.components),
            [{**row, "psnr_own": row["psnr"], "psnr": row["psnr_series"]} for row in rows],
            pretrain_seconds=seconds,
            note=described(prior) if prior else one.note,
        )
        return {**curve, "shown": list(one.shown)}


def described(prior: Prior) -> str:
    """What it was learned from."""
    return f"{prior.config.outer_steps} rounds, {100 * prior.voxel_share:.2g} % of the voxels"


def summary(curve: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Means over the steps at one length; None where a step has no figure."""
    rows = [row for row in curve["rows"] if row["epochs"] == epochs]
    names = (
        "psnr_own",
        "psnr",
        "ssim",
        "lpips",
        "chamfer_voxels",
        "mean_error",
        "max_error",
        "seconds",
        "bytes",
        "archive_bytes",
    )
    result: dict[str, Any] = {"epochs": epochs}
    for name in names:
        values = [row.get(name) for row in rows]
        known = [v for v in values if isinstance(v, (int, float))]
        result[name] = mean(known) if len(known) == len(values) else None
    return result
