"""Curves of what Meta-INR is compared with: a tuned Adam SIREN and the published procedure."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metainr_core import Series, SirenConfig

from . import published
from .ceilings import training_arithmetic
from .plain import PlainSiren, Recipe, evaluate, fit, places
from .score import Scorer, method
from .settings import Settings

NETWORK = SirenConfig(width=64, hidden_layers=3)


@dataclass(frozen=True)
class Tuned:
    """The best of the grid: how to train, and the range of the first layer's weights."""

    recipe: Recipe
    first_scale: float
    grid: list[dict[str, Any]]

    @property
    def words(self) -> str:
        edges = [
            name
            for name, value in (("batch", self.recipe.batch), ("rate", self.recipe.rate))
            if len({row[name] for row in self.grid}) > 2
            and value in (f([row[name] for row in self.grid]) for f in (min, max))
        ]
        # A best value at the edge says that a wider grid might do better.
        edge = f"; {' and '.join(edges)} at the edge of the grid" if edges else ""
        return (
            f"batch {self.recipe.batch}, rate {self.recipe.rate:g}, first layer ×"
            f" {self.first_scale:g}, best of {len(self.grid)}{edge}"
        )


@dataclass
class Baselines:
    """One series, its chosen steps, and what they are fitted with."""

    series: Series
    steps: list[int]
    device: torch.device
    settings: Settings
    score: Scorer

    def __post_init__(self) -> None:
        self.where = places(self.series.grid.shape).to(self.device)
        self.components = self.series.components

    def tune(self) -> Tuned:
        """Batch, rate and first layer for the longest fit, on the first of the chosen steps.

        In fp32. Tuned on a step that is then compared, which can only flatter Adam.
        """
        epochs, step = max(self.settings.epochs), self.steps[0]
        grid = []
        for scale, batch, rate in itertools.product(
            self.settings.adam_first_scales, self.settings.adam_batches, self.settings.adam_rates
        ):
            (row,) = self._fit(self._model(scale), step, epochs, Recipe(batch, rate), [epochs])
            tried = Tuned(Recipe(batch, rate), scale, [])
            grid.append((row["psnr"], tried, row["seconds"]))
        table = [
            {
                "first_scale": tried.first_scale,
                "batch": tried.recipe.batch,
                "rate": tried.recipe.rate,
                "seconds": seconds,
                "psnr": decibels,
            }
            for decibels, tried, seconds in grid
        ]
        best = max(grid, key=lambda found: found[0])[1]
        return replace(best, grid=table)

    def adam(self, tuned: Tuned, epochs: list[float]) -> Iterator[dict[str, object]]:
        """Every length is a fit of its own, with its own decay of the rate."""
        names = {False: ("adam_fp32", "tuned Adam, plain PyTorch, fp32")}
        if training_arithmetic(self.device) == "bf16":
            names[True] = ("adam_bf16", "tuned Adam, plain PyTorch, bf16 autocast")
        for bf16, (key, label) in names.items():
            recipe = replace(tuned.recipe, bf16=bf16)
            self._warm(self._model(tuned.first_scale), recipe)
            rows = [
                row
                for length in epochs
                for step in self.steps
                for row in self._fit(self._model(tuned.first_scale), step, length, recipe, [length])
            ]
            parameters = NETWORK.parameters(self.components)
            grid = [] if bf16 else tuned.grid
            yield method(key, label, "64×3", parameters, rows, note=tuned.words, grid=grid)

    def published(self, epochs: list[float], folder: Path) -> dict[str, object]:
        """One fit per step, looked at on its way: its rate is constant."""
        settings = self.settings
        width, batch = settings.published_width, settings.published_batch
        rounds = settings.published_rounds
        start, seconds = published.pretrain(self.series, self.device, rounds, width, batch, folder)
        recipe = published.recipe(batch)
        self._warm(start, recipe)
        rows = [
            row
            for step in self.steps
            for row in self._fit(copy.deepcopy(start), step, max(epochs), recipe, epochs)
        ]
        parameters = sum(p.numel() for p in start.parameters())
        return method(
            "published",
            "published procedure, fp32",
            f"{width}×{published.HIDDEN}",
            parameters,
            rows,
            pretrain_seconds=seconds,
            note=f"{rounds} of {published.ROUNDS} outer rounds",
        )

    def _model(self, first_scale: float) -> PlainSiren:
        model = PlainSiren(
            NETWORK.width, NETWORK.hidden_layers, self.components, first_scale=first_scale
        )
        return model.to(self.device)

    def _values(self, step: int) -> Tensor:
        flat = self.series.read(step).reshape(-1, self.components)
        return torch.from_numpy(published.normalised(self.series, flat)).to(self.device)

    def _warm(self, model: PlainSiren, recipe: Recipe) -> None:
        """Two minibatches that no clock sees."""
        few = 2 * recipe.batch
        values = self._values(self.steps[0])[:few]
        for _ in fit(copy.deepcopy(model), self.where[:few], values, 1, recipe):
            pass

    def _fit(
        self, model: PlainSiren, step: int, epochs: float, recipe: Recipe, at: list[float]
    ) -> list[dict[str, float]]:
        """Rows at the passes ``at``; the last pass counts as ``epochs``."""
        centre, half = self.series.value_range().scale()
        rows = []
        for done, seconds in fit(model, self.where, self._values(step), epochs, recipe):
            reached = epochs if done + 1 > epochs else done
            if reached in at:
                decoded = evaluate(model, self.where) * half + centre
                value = self.score(step, decoded)
                rows.append({"epochs": reached, "step": step, "seconds": seconds, "psnr": value})
        return rows
