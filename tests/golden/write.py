"""Writes the golden archives of a format version: once, when the version is new.

    python tests/golden/write.py tests/golden/format3

Every archive stays as it is for ever, and every later version has to read it
(``tests/core/test_golden.py``). The script refuses to touch what is there. Those of formats 1 and 2
were written by the last versions that wrote these.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.ensemble import EnsembleSeries, Run
from metainr_core.errors import MetaINRWarning
from metainr_core.grid import Grid
from metainr_core.hashing import fingerprint
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries, Series

DIMS = (14, 12, 10)
SIREN = SirenConfig(16, 1, 10.0)
BRICKS = SirenConfig(8, 1, 8.0, brick_size=7)
TILTED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
ENCODE = EncodeConfig(siren=SIREN, init="random", epochs=4, learning_rate=3e-3, device="cpu")
PRETRAIN = PretrainConfig(
    siren=SIREN, lambda_t=2, fraction=0.2, outer_steps=10, inner_steps=8, tasks=2, device="cpu",
    batch_size=128, learning_rate=3e-3,
)  # fmt: skip


def flow(steps: int, components: int = 1, phase: float = 0.0, **keywords: Any) -> ArraySeries:
    """A smooth field that changes slowly; of numbers that every machine computes alike."""
    grid = keywords.setdefault("grid", Grid(DIMS))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    arrays = []
    for t in range(steps):
        waves = [np.sin(2 * x + 0.2 * t + c + phase) * np.cos(1.5 * y) for c in range(components)]
        arrays.append(np.stack([5 + w + 0.5 * z * x for w in waves], -1).astype(np.float32))
    return ArraySeries(arrays, **keywords)


def constant_between() -> ArraySeries:
    """Its second step is constant."""
    values = [flow(2).read(0), np.full((*DIMS[::-1], 1), 4.25, np.float32), flow(2).read(1)]
    return ArraySeries(values, grid=Grid(DIMS))


def tilted() -> ArraySeries:
    """Cell data on a turned grid that does not begin at 0."""
    grid = Grid(DIMS, (0.5, 2.0, 0.25), (-3.0, 7.0, 1.5), TILTED, (4, 0, -2), "cell")
    return flow(2, grid=grid, times=[0.25, 1e6])


def ensemble() -> Series:
    """Two runs; names and parameters that are not ASCII."""
    runs = [("Übung 速", 3, 0.0), ("b", 2, 0.7)]
    return EnsembleSeries([Run(n, flow(c, phase=p), {"Φ": p, "text": "x"}) for n, c, p in runs])


# Of every archive: its series, and the settings beside those above.
ARCHIVES: dict[str, tuple[Callable[[], Series], dict[str, Any]]] = {
    "prior": (lambda: flow(2), {"init": "meta"}),
    "previous": (lambda: flow(4), {"init": "previous", "key_interval": 3}),
    "previous_prior": (lambda: flow(3), {"init": "previous", "adapt": "modulation"}),
    "modulation": (lambda: flow(1), {"init": "meta", "adapt": "modulation"}),
    "float32": (lambda: flow(1), {"weights": "float32"}),
    "float16": (lambda: flow(1), {"weights": "float16"}),
    "bound": (lambda: flow(2), {"max_error": 0.05}),
    "bricks": (lambda: flow(1), {"siren": BRICKS}),
    "cells": (tilted, {}),
    "vectors": (lambda: flow(2, components=3), {}),
    "ensemble": (ensemble, {}),
    "constant": (constant_between, {}),
    "names": (lambda: flow(1, array='速度 "v"/|ω|', name="Läufe/b c.pvd"), {}),
    "bf16": (lambda: flow(1), {"precision": "bf16"}),
}


def write(folder: Path) -> None:
    prior = pretrain(flow(4), PRETRAIN, folder / "prior.safetensors")
    for name, (make, changes) in ARCHIVES.items():
        config = dataclasses.replace(ENCODE, **{"precision": "fp32", **changes})
        uses = config.init == "meta" or config.adapt == "modulation"
        encode(make(), folder / f"{name}.minr", prior=prior if uses else None, config=config)


def expected(folder: Path) -> dict[str, Any]:
    """What every reader has to find: of some voxels the values, of all their mean and spread."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.minr")):
        archive = Archive.open(path)
        steps = {}
        for record in archive.records:
            values = archive.decode(record.step, device="cpu")
            steps[record.step] = {
                "time": record.time,
                "weights": record.weights,
                "reference": record.reference,
                "precision": record.precision,
                "networks": fingerprint(archive.load_step(record.step).flat().numpy()),
                "values": [float(v) for v in values.reshape(-1)[:: values.size // 7]],
                "mean": float(values.mean(dtype=np.float64)),
                "spread": float(values.std(dtype=np.float64)),
            }
        found[path.stem] = {
            "array": archive.array,
            "grid": archive.grid.to_json(),
            "components": archive.components,
            "members": [m.to_json() for m in archive.members],
            "steps": steps,
        }
    return {"prior": Prior.load(folder / "prior.safetensors").digest, "archives": found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a new one")
    folder = parser.parse_args().folder
    if folder.exists():
        parser.error(f"{folder} exists, and what is golden is never written again")
    folder.mkdir(parents=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetaINRWarning)
            write(folder)
        text = json.dumps(expected(folder), ensure_ascii=False)
        (folder / "expected.json").write_text(text + "\n", encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder)
        raise


if __name__ == "__main__":
    main()
