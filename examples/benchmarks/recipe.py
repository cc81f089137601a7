"""The default settings against their neighbours: PSNR after 1 and 4 passes.

    python examples/benchmarks/recipe.py SERIES [SERIES…]            # the default and baselines
    python examples/benchmarks/recipe.py --ablations SERIES [SERIES…]  # one setting changed

Prints a Markdown table per series: mean and worst PSNR over the series' range, in dB, over all
steps (ablations: two steps), and the seconds of pretraining and of one fit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metainr_core import (
    EncodeConfig,
    PretrainConfig,
    Series,
    SirenConfig,
    encode,
    open_series,
    pretrain,
)

EPOCHS = (1, 4)


@dataclass(frozen=True)
class Variant:
    """A name, and what differs from the default (``prior`` None: no pretraining)."""

    name: str
    prior: dict[str, Any] | None = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    siren: SirenConfig | None = None


BASELINES = [
    Variant("default: prior from 0.78 % of the voxels"),
    Variant("the same, another seed", prior={"seed": 1}),
    Variant("prior, then each step from the one before", fit={"init": "previous"}),
    Variant("prior without inner loop (pooled)", {"outer": "pooled"}, {"init": "pretrained"}),
    Variant("random, Muon", None, {"init": "random"}),
    *[
        Variant(
            f"random, Adam, rate {rate:g}",
            None,
            {"init": "random", "optimizer": "adam", "learning_rate": rate},
        )
        for rate in (5e-4, 1e-3, 2e-3)
    ],
]
ABLATIONS = [
    Variant("default"),
    Variant("K 16 × batch 2048 inside", prior={"inner_steps": 16, "batch_size": 2048}),
    Variant("K 32 × batch 1024 inside", prior={"inner_steps": 32, "batch_size": 1024}),
    Variant("inner rate 5e-4", prior={"learning_rate": 5e-4}),
    Variant("inner loop with Adam", prior={"optimizer": "adam"}),
    Variant("every 2nd step, half as many voxels of each", prior={"lambda_t": 2}),
    Variant("all steps, a quarter of the voxels of each", prior={"lambda_t": 1}),
    Variant("published lattice", prior={"sampling": "lattice", "lambda_s": 4, "lambda_t": 2}),
    Variant("3.1 % of the voxels", prior={"fraction": 1 / 32}),
    Variant("all voxels of every 4th step", prior={"fraction": 1.0}),
    Variant("fit with batch 4096", fit={"batch_size": 4096}),
    Variant("fit with batch 512", fit={"batch_size": 512}),
    Variant("fit with rate 5e-4", fit={"learning_rate": 5e-4}),
    Variant("fit with Adam, rate 1e-3", fit={"optimizer": "adam", "learning_rate": 1e-3}),
    Variant("first layer at the usual range", siren=SirenConfig(first_scale=1.0)),
    Variant("omega_0 20", siren=SirenConfig(omega_0=20.0)),
]


def measure(series: Series, variant: Variant, steps: list[int]) -> str:
    """One row of the table."""
    started = time.perf_counter()
    prior = None
    if variant.prior is not None:
        prior = pretrain(series, PretrainConfig(siren=variant.siren, **variant.prior))
    seconds = time.perf_counter() - started if prior else 0.0
    cells = [variant.name, f"{seconds:.0f}" if prior else ""]
    for epochs in EPOCHS:
        config = EncodeConfig(epochs=epochs, siren=None if prior else variant.siren, **variant.fit)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.minr"
            records = encode(series, file, prior=prior, config=config, steps=steps).records
        decibels = [r.psnr_series for r in records]
        fit = float(np.median([r.seconds for r in records]))
        cells += [f"{np.mean(decibels):.1f} ({min(decibels):.1f})", f"{fit:.1f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("series", nargs="+")
    parser.add_argument("--ablations", action="store_true")
    options = parser.parse_args()
    for path in options.series:
        series = open_series(path)
        steps = [len(series) // 6, 2 * len(series) // 3] if options.ablations else None
        print(f"\n**{path}**, {'steps ' + str(steps) if steps else 'all steps'}\n")
        print("| variant | pretrain s | 1 pass: mean (worst) dB | s | 4 passes | s |")
        print("|---|---|---|---|---|---|", flush=True)
        for variant in ABLATIONS if options.ablations else BASELINES:
            chosen = steps if steps is not None else list(range(len(series)))
            if variant.fit.get("init") == "previous":
                chosen = list(range(max(chosen) + 1))
            print(measure(series, variant, chosen), flush=True)


if __name__ == "__main__":
    main()
