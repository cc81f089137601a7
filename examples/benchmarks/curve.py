"""PSNR over seconds of the fit loop: Meta-INR, a tuned Adam SIREN, the published procedure.

All methods fit the same steps of a series and are scored alike. Seconds are those of the fit
loop per step; steps that are fitted side by side share the time that passes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from metainr_core import (
    EncodeConfig,
    MetaINRError,
    PretrainConfig,
    Prior,
    Series,
    SirenConfig,
    encode,
    pretrain,
)
from metainr_core.layout import BrickLayout

from . import machine
from .baselines import NETWORK, Baselines, Tuned
from .score import Scorer, choose_steps, method
from .settings import Settings


def measure(
    series: Series, device: torch.device, settings: Settings, folder: Path
) -> Iterator[dict[str, object]]:
    """One curve per method, the quick ones first. ``folder`` keeps the published pretraining."""
    torch.manual_seed(0)  # the order of the voxels in plain PyTorch
    steps = steps_of(series, settings)
    epochs = accepted(settings.epochs)
    score = Scorer(series)
    ours = _Ours(series, steps, device, settings, score)
    yield from ours.from_prior(epochs)
    baselines = Baselines(series, steps, device, settings, score)
    tuned = baselines.tune()
    yield from baselines.adam(tuned, epochs)
    yield ours.adam(tuned, epochs)
    yield ours.wide()
    yield baselines.published(epochs, folder)


def steps_of(series: Series, settings: Settings) -> list[int]:
    """Those that all methods fit."""
    return choose_steps(len(series), settings.steps or max(4, machine.cores()))


def accepted(epochs: Sequence[float]) -> list[float]:
    """Without parts of a pass where a fit takes whole ones only."""
    result = []
    for count in epochs:
        try:
            EncodeConfig.preset("default", epochs=count)
        except MetaINRError:
            continue
        result.append(count)
    return result


class _Ours:
    """Curves through ``pretrain``, ``encode`` and ``Archive.decode``."""

    def __init__(
        self,
        series: Series,
        steps: list[int],
        device: torch.device,
        settings: Settings,
        score: Scorer,
    ):
        self.series, self.steps, self.settings, self.score = series, steps, settings, score
        self.device = device.type

    def from_prior(self, epochs: list[float]) -> Iterator[dict[str, object]]:
        rounds = self.settings.pretrain_rounds
        prior, seconds = self._prior(outer_steps=rounds) if rounds else self._prior()
        rows = self._rows(prior, epochs, {})
        yield self._method("default", "Meta-INR, default", prior, seconds, rows)
        rows = self._rows(prior, self.settings.previous_epochs, {"init": "previous"})
        label = "Meta-INR, from the step before"
        yield self._method("previous", label, prior, seconds, rows)

    def wide(self) -> dict[str, object]:
        """The default settings with the published network; fewer rounds than by default."""
        siren = SirenConfig(self.settings.published_width, 5)
        prior, seconds = self._prior(siren=siren, outer_steps=self.settings.wide_rounds)
        rows = self._rows(prior, self.settings.wide_epochs, {})
        label = "Meta-INR, published network"
        return self._method("wide", label, prior, seconds, rows)

    def adam(self, tuned: Tuned, epochs: list[float]) -> dict[str, object]:
        """What plain PyTorch does, in our arithmetic: same network, optimizer and settings."""
        siren = SirenConfig(NETWORK.width, NETWORK.hidden_layers, first_scale=tuned.first_scale)
        changes = {
            "siren": siren,
            "init": "random",
            "optimizer": "adam",
            "batch_size": tuned.recipe.batch,
            "learning_rate": tuned.recipe.rate,
        }
        rows = self._rows(None, epochs, changes)
        parameters = siren.parameters(self.series.components)
        label = "tuned Adam, our arithmetic"
        return method("adam_own", label, "64×3", parameters, rows, note=tuned.words)

    def _prior(self, **changes: Any) -> tuple[Prior, float]:
        config = PretrainConfig.preset("default", device=self.device, **changes)
        started = time.perf_counter()
        return pretrain(self.series, config), time.perf_counter() - started

    def _method(
        self,
        key: str,
        label: str,
        prior: Prior,
        seconds: float,
        rows: list[dict[str, float]],
    ) -> dict[str, object]:
        siren = prior.siren_config
        bricks = BrickLayout.of(self.series.grid.dims, siren.brick_size).bricks
        count = f"{bricks} × " if bricks > 1 else ""
        full = PretrainConfig().outer_steps
        rounds = f"{prior.config.outer_steps} rounds"
        if prior.config.outer_steps < full:
            rounds = f"{prior.config.outer_steps} of {full} rounds"
        return method(
            key,
            label,
            f"{count}{siren.width}×{siren.hidden_layers}",
            bricks * siren.parameters(self.series.components),
            rows,
            pretrain_seconds=seconds,
            note=f"{rounds}, {100 * prior.voxel_share:.2g} % of the voxels",
        )

    def _rows(
        self, prior: Prior | None, epochs: Sequence[float], changes: dict[str, Any]
    ) -> list[dict[str, float]]:
        self._fit(prior, {**changes, "epochs": 1})  # not counted: what is done only once
        return [
            {"epochs": count, **row}
            for count in epochs
            for row in self._fit(prior, {**changes, "epochs": count})
        ]

    def _fit(self, prior: Prior | None, changes: dict[str, Any]) -> list[dict[str, float]]:
        config = EncodeConfig.preset("default", device=self.device, **changes)
        chained = config.init == "previous"
        steps = list(range(max(self.steps) + 1)) if chained else self.steps
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.minr"
            started = time.perf_counter()
            archive = encode(self.series, file, prior=prior, config=config, steps=steps)
            wall = time.perf_counter() - started
            # Clocks of steps fitted side by side must not add up to more than what passed.
            clock = sum(r.seconds for r in archive.records)
            factor = min(1.0, wall / max(clock, 1e-9))
            return [
                {
                    "step": step,
                    "seconds": archive.record(step).seconds * factor,
                    "psnr": self.score(step, archive.decode(step, device=self.device)),
                }
                for step in self.steps
            ]
