"""What the paper's table compares, and how much smaller it is made here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metainr_core import EncodeConfig, Grid, PretrainConfig, SirenConfig

from . import published


@dataclass(frozen=True)
class PaperSettings:
    """How much is measured.

    ``every``: of the voxels per axis. ``steps``: so many, which no prior has read. ``rounds``: of
    the published pretraining and, in passes over as many voxels, of the pooled one.
    ``pass_batches``: minibatches of a pass, where the published 50,000 voxels would make one or
    two of a volume so small; 0 takes 50,000. ``siren``: the published network. ``siren_rounds``:
    of our pretraining for that network; ``default_rounds``: for ours, 0 for the default.
    ``rates`` and ``batches``: the grid that tuned Adam is the best of, batches as multiples of
    the published one; ``own_…`` of the default network, with the ranges of its first layer.
    ``long``: passes of fits with Adam from random weights, ``short`` of those from the published
    priors, ``own`` of those with default settings; the table shows ``…_shown``.

    Ablations: ``variant_steps`` of a series, one with the published network; ``variant_rounds``
    of the default prior (0: default), ``published_rounds`` of the published one, ``check_rounds``
    of both ours and the independent one; passes of the fits that show
    convergence, ``lengths`` and ``published_lengths``.
    """

    every: int = 2
    steps: int = 3
    rounds: int = published.ROUNDS
    pass_batches: int = 42
    siren: SirenConfig = field(
        default_factory=lambda: SirenConfig(256, published.HIDDEN, first_scale=1.0)
    )
    siren_rounds: int = 10
    default_rounds: int = 0
    rates: tuple[float, ...] = (5e-5, 1e-4, 2e-4, 4e-4)
    batches: tuple[float, ...] = (1.0, 0.5)
    own_rates: tuple[float, ...] = (3.5e-4, 7e-4, 1.4e-3, 2.8e-3)
    own_batches: tuple[int, ...] = (128, 256, 512)
    own_scales: tuple[float, ...] = (1.0, 0.5)
    long: tuple[int, ...] = (4, 16, 40, 100)
    long_shown: tuple[int, ...] = (16, 100)
    short: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    short_shown: tuple[int, ...] = (16,)
    own: tuple[int, ...] = (1, 2, 4, 8, 16, 64)
    own_shown: tuple[int, ...] = (4, 16, 64)

    variant_steps: int = 2
    variant_rounds: int = 0
    published_rounds: int = 20
    check_rounds: int = 3
    lengths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    published_lengths: tuple[int, ...] = (1, 2, 4, 8, 16, 32)

    def batch(self, grid: Grid) -> int:
        """Voxels of a minibatch of the published fits."""
        return -(-grid.voxels // self.pass_batches) if self.pass_batches else 50_000


QUICK = PaperSettings(
    every=1,
    steps=1,
    rounds=2,
    pass_batches=3,
    siren=SirenConfig(16, published.HIDDEN, first_scale=1.0),
    siren_rounds=1,
    default_rounds=2,
    rates=(1e-3,),
    batches=(1.0,),
    own_rates=(1e-3, 2e-3),
    own_batches=(256,),
    own_scales=(1.0,),
    long=(2, 4),
    long_shown=(2, 4),
    short=(1, 2),
    short_shown=(2,),
    own=(1, 2),
    own_shown=(2,),
    variant_steps=1,
    variant_rounds=2,
    published_rounds=1,
    check_rounds=1,
    lengths=(1, 2, 4),
    published_lengths=(1, 2, 4),
)


@dataclass(frozen=True)
class Method:
    """One way to fit. ``prior``: of which kind, empty for random weights.

    ``fit``: fields of ``EncodeConfig``, of preset ``preset``. ``epochs``: lengths that are run;
    the table shows ``shown`` of them, and asks when others are as good as the last of these.
    ``note``: how it was tuned.
    """

    key: str
    label: str
    preset: str
    prior: str
    fit: Mapping[str, Any]
    epochs: tuple[int, ...]
    shown: tuple[int, ...]
    note: str = ""

    def config(self, epochs: int) -> EncodeConfig:
        return EncodeConfig.preset(self.preset, **{**self.fit, "epochs": epochs})


def prior_configs(settings: PaperSettings, common: Mapping[str, Any]) -> dict[str, PretrainConfig]:
    """Of the priors by name. ``common``: device and precision."""
    published_like = {"siren": settings.siren, "outer_steps": settings.rounds, **common}
    own: dict[str, Any] = dict(common)
    if settings.default_rounds:
        own["outer_steps"] = settings.default_rounds
    pooled = {"outer": "pooled", "outer_learning_rate": 0.0}
    wide = {**common, "siren": settings.siren, "outer_steps": settings.siren_rounds}
    return {
        "paper": PretrainConfig.preset("paper", **published_like),
        "pooled": PretrainConfig.preset("paper", **published_like, **pooled),
        "default": PretrainConfig.preset("default", **own),
        "default_pooled": PretrainConfig.preset("default", **own, outer="pooled"),
        "wide": PretrainConfig.preset("default", **wide),
    }


def methods(
    settings: PaperSettings, grid: Grid, common: Mapping[str, Any], own: SirenConfig
) -> list[Method]:
    """All but the tuned ones. ``own``: the network that the default takes for this grid."""
    batch = {**common, "siren": None, "batch_size": settings.batch(grid)}
    scratch = {**batch, "siren": settings.siren, "init": "random"}
    longest = settings.long, settings.long_shown
    short = settings.short, settings.short_shown
    few = tuple(e for e in settings.short if e <= 4)
    lengths = settings.own, settings.own_shown
    random = {**common, "siren": own, "init": "random"}
    pretrained = {**batch, "init": "pretrained"}
    own_pretrained = {**common, "init": "pretrained"}
    return [
        Method("scratch", "SIREN from scratch, published", "paper", "", scratch, *longest),
        Method("pretrained", "SIREN, pretrained", "paper", "pooled", pretrained, *short),
        Method("paper", "Meta-INR, published", "paper", "paper", batch, *short),
        Method("muon", "from scratch, default settings", "default", "", random, *lengths),
        Method(
            "default_pooled",
            "pretrained, default settings",
            "default",
            "default_pooled",
            own_pretrained,
            *lengths,
        ),
        Method("default", "Meta-INR, default", "default", "default", common, *lengths),
        Method(
            "wide",
            "Meta-INR, default settings, published network",
            "default",
            "wide",
            common,
            few,
            few[-1:],
        ),
    ]


def tuned(
    key: str,
    settings: PaperSettings,
    common: Mapping[str, Any],
    siren: SirenConfig,
    batch: int,
    rate: float,
    note: str = "",
) -> Method:
    """Adam from random weights at a rate that falls along a cosine; ``siren`` decides the rest."""
    label = {"tuned": "SIREN from scratch, tuned Adam", "tuned_own": "tuned Adam, default network"}
    fit = {
        **common,
        "siren": siren,
        "init": "random",
        "batch_size": batch,
        "learning_rate": rate,
        "schedule": "cosine",
    }
    return Method(key, label[key], "paper", "", fit, settings.long, settings.long_shown, note)


def tuning_grid(
    key: str,
    settings: PaperSettings,
    grid: Grid,
    common: Mapping[str, Any],
    own: SirenConfig,
) -> list[Method]:
    """What ``tuned`` is the best of."""
    if key == "tuned":
        return [
            tuned(key, settings, common, settings.siren, round(settings.batch(grid) * part), rate)
            for part in settings.batches
            for rate in settings.rates
        ]
    return [
        tuned(key, settings, common, dataclasses.replace(own, first_scale=scale), batch, rate)
        for scale in settings.own_scales
        for batch in settings.own_batches
        for rate in settings.own_rates
    ]
