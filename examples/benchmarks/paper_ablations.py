"""What of the method matters: one thing changed at a time."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
import torch

from metainr_core import EncodeConfig, MetaINRError, PretrainConfig, Prior, Series

from . import published
from .paper_curves import described
from .paper_fits import Fits
from .paper_methods import PaperSettings, methods, prior_configs
from .plain import evaluate, fit, places
from .score import Scorer, choose_steps


@dataclass(frozen=True)
class Variant:
    """One row of part ``part``: a prior and how it is fitted, ``steps`` of a series.

    ``prior``: its settings, None for random weights, or one that is there. ``fit``: fields of
    ``EncodeConfig`` of preset ``preset``.
    """

    part: str
    name: str
    preset: str
    prior: PretrainConfig | Prior | None
    fit: Mapping[str, Any]
    epochs: tuple[int, ...]
    steps: int


@dataclass
class Ablations:
    """Of one series, ``name``.

    ``whole``: all series as they are, for the default network; ``thin``: with fewer voxels, for
    the published one. ``common``: device and precision of every fit and prior.
    """

    name: str
    whole: Mapping[str, Fits]
    thin: Mapping[str, Fits]
    settings: PaperSettings
    common: Mapping[str, Any]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each variant's figures as they are measured."""
        whole, thin = self.whole[self.name], self.thin[self.name]
        whole.warm()
        own = itertools.chain(self._inner_steps(), self._voxels(), self._default_transfers())
        for variant in own:
            yield self._measure(whole, variant)
        for variant in self._published():
            yield self._measure(thin, variant)
        yield from self._check(thin)

    def _measure(self, fits: Fits, variant: Variant) -> dict[str, Any]:
        prior, about = variant.prior, dict[str, Any]()
        if isinstance(prior, PretrainConfig):
            prior, seconds = fits.prior(prior)
            about = {"pretrain_seconds": seconds}
        rows = []
        for step in choose_steps(len(fits.series), variant.steps):
            for epochs in variant.epochs:
                config = EncodeConfig.preset(variant.preset, **{**variant.fit, "epochs": epochs})
                rows.append(fits.row("variant", step, prior, config))
        if prior:
            about["note"] = described(prior)
        return {"part": variant.part, "label": variant.name, **about, "points": _points(rows)}

    def _own(self, **changes: Any) -> PretrainConfig:
        rounds = self.settings.variant_rounds
        known = {"outer_steps": rounds} if rounds else {}
        return PretrainConfig.preset("default", **self.common, **known, **changes)

    def _variant(
        self, part: str, name: str, prior: PretrainConfig | Prior | None, *epochs: int
    ) -> Variant:
        """With the default network."""
        fit = {**self.common, **({} if prior else {"init": "random"})}
        count = self.settings.variant_steps
        return Variant(part, name, "default", prior, fit, epochs or (1, 4), count)

    def _inner_steps(self) -> Iterator[Variant]:
        default, part = self._own(), "Inner steps K (minibatches of a task), default network"
        for steps in (4, 8, 16, 32, default.inner_steps):
            yield self._variant(part, f"K {steps}", self._own(inner_steps=steps))
        yield self._variant(part, "no prior", None)
        part = "Passes until convergence, default network"
        for name, prior in (("prior", default), ("no prior", None)):
            row = self._variant(part, name, prior, *self.settings.lengths)
            yield dataclasses.replace(row, steps=1)

    def _voxels(self) -> Iterator[Variant]:
        part = "Which voxels the prior reads, default network"
        for steps in (4, 2, 1):
            yield self._variant(part, f"random, λt {steps}", self._own(lambda_t=steps))
        dims, default = self.whole[self.name].series.grid.dims, self._own()
        for space, steps in ((4, 2), (2, 2), (8, 2), (4, 1), (4, 4)):
            voxels = int(np.prod([-(-n // space) for n in dims]))
            # There K counts passes; as many minibatches as the default's are wanted.
            passes = max(1, round(default.inner_steps / -(-voxels // default.batch_size)))
            lattice = {"sampling": "lattice", "lambda_s": space, "lambda_t": steps}
            prior = self._own(**lattice, inner_steps=passes)
            yield self._variant(part, f"lattice, λs {space}, λt {steps}", prior)

    def _default_transfers(self) -> Iterator[Variant]:
        part = "Whose prior, default network"
        for name, fits in self.whole.items():
            prior, _ = fits.prior(self._own())
            if name != self.name:
                prior = carried(prior, self.whole[self.name].series)
            yield self._variant(part, f"prior of {name}", prior)
        yield self._variant(part, "no prior", None)

    def _published(self) -> Iterator[Variant]:
        settings = dataclasses.replace(self.settings, rounds=self.settings.published_rounds)
        grid = self.thin[self.name].series.grid
        found = {m.key: m for m in methods(settings, grid, self.common, settings.siren)}
        configs = prior_configs(settings, self.common)
        priors = {"scratch": None, "pretrained": configs["pooled"], "paper": configs["paper"]}
        short = settings.short_shown

        def variant(
            part: str,
            key: str,
            epochs: tuple[int, ...] = short,
            name: str = "",
            prior: PretrainConfig | Prior | None = None,
            **changes: Any,
        ) -> Variant:
            one = found[key]
            prior, fields = prior or priors[key], {**one.fit, **changes}
            part = f"{part}, published network, {settings.rounds} rounds"
            return Variant(part, name or one.label, "paper", prior, fields, epochs, 1)

        part = "Batches of 50,000 as published"
        yield variant(part, "scratch", settings.long_shown, batch_size=50_000)
        yield variant(part, "pretrained", batch_size=50_000)
        yield variant(part, "paper", batch_size=50_000)
        part = "Whose prior"
        for name, fits in self.thin.items():
            prior, _ = fits.prior(configs["paper"])
            if name != self.name:
                prior = carried(prior, self.thin[self.name].series)
            yield variant(part, "paper", name=f"prior of {name}", prior=prior)
        yield variant(part, "scratch", name="no prior")
        part = "Inner steps K (passes)"
        for steps in (4, 8, 16, 32):
            config = dataclasses.replace(configs["paper"], inner_steps=steps)
            yield variant(part, "paper", name=f"K {steps}", prior=config)
        part = "Passes until convergence"
        yield variant(part, "paper", settings.published_lengths)
        yield variant(part, "scratch", settings.published_lengths)

    def _check(self, fits: Fits) -> Iterator[dict[str, Any]]:
        """The published procedure in fp32: ours, and the independent one in plain PyTorch."""
        settings, series = self.settings, fits.series
        rounds, epochs = settings.check_rounds, settings.short_shown[-1]
        batch, step = settings.batch(series.grid), choose_steps(len(series), 1)[0]
        part = f"Two implementations of the published procedure, fp32, {rounds} rounds"
        fp32 = {**self.common, "precision": "fp32"}
        config = dataclasses.replace(prior_configs(settings, fp32)["paper"], outer_steps=rounds)
        changes = {**fp32, "batch_size": batch, "siren": None}
        yield self._measure(fits, Variant(part, "ours", "paper", config, changes, (epochs,), 1))

        device, width = fits.device, settings.siren.width
        # Its batch in pretraining is the published one: the lattice is smaller than that.
        model, seconds = published.pretrain(series, device, rounds, width, 50_000, fits.folder)
        where = places(series.grid.shape).to(device)
        flat = series.read(step).reshape(-1, series.components)
        values = torch.from_numpy(published.normalised(series, flat)).to(device)
        work = time.process_time()
        *_, (_, spent) = fit(model, where, values, epochs, published.recipe(batch))
        spent = min(spent, time.process_time() - work)
        centre, half = series.value_range().scale()
        decibels = Scorer(series)(step, evaluate(model, where) * half + centre)
        point = {"epochs": epochs, "psnr": decibels, "seconds": spent}
        yield {
            "part": part,
            "label": "independent, plain PyTorch",
            "pretrain_seconds": seconds,
            "note": f"{rounds} rounds",
            "points": [point],
        }


def carried(prior: Prior, series: Series) -> Prior:
    """A prior of another series for this one: its weights, for this one's array and values.

    Coordinates are [-1, 1] along each axis of any grid, and values [-1, 1] in any range, so that
    nothing else has to be carried over. Raises MetaINRError where components differ.
    """
    if prior.components != series.components:
        raise MetaINRError(
            f"a prior of {prior.components} components cannot start {series.name}, which has"
            f" {series.components}; compare series with as many"
        )
    return dataclasses.replace(prior, array=series.array, value_range=series.value_range())


def _points(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Per length: means over the steps."""
    result = []
    for epochs in sorted({row["epochs"] for row in rows}):
        same = [row for row in rows if row["epochs"] == epochs]
        psnr, seconds = (mean(row[name] for row in same) for name in ("psnr_series", "seconds"))
        result.append({"epochs": epochs, "psnr": psnr, "seconds": seconds})
    return result
