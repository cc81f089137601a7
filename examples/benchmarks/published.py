"""The procedure of arXiv 2502.09669 as its section 4 and its released code describe it.

Written independently and plainly, as the yardstick: SIREN 3-256-256×5-1 in fp32, Adam, batches
of 50,000 voxels. Pretraining: all voxels on a lattice of every 4th along each axis, of every 2nd
step; in each of 500 rounds every such step is fitted for 16 passes at 1e-4 from the common
weights, whose distance from the mean of the results is then the gradient of one step of Adam at
1e-4. Encoding: 16 passes over all voxels at 1e-5.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from metainr_core import Series
from metainr_core.hashing import fingerprint

from .plain import PlainSiren, Recipe, fit, places
from .timing import wait

HIDDEN = 5
ROUNDS = 500  # as published
INNER_EPOCHS = 16
LATTICE = 4
EVERY = 2
_SAVE_SECONDS = 60.0


def recipe(batch: int) -> Recipe:
    """Of the fit; the published batch is 50,000."""
    return Recipe(batch, 1e-5, cosine=False)


def lattice(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of the voxels of ``shape`` (nz, ny, nx) that pretraining sees."""
    keep = np.zeros(shape, bool)
    keep[::LATTICE, ::LATTICE, ::LATTICE] = True
    return np.flatnonzero(keep)


def samples(series: Series) -> tuple[Tensor, Tensor]:
    """Coordinates ``(n, 3)`` and values ``(tasks, n, components)`` in [-1, 1]."""
    kept = lattice(series.grid.shape)
    volumes = [series.read(s) for s in range(0, len(series), EVERY)]
    values = np.stack([v.reshape(-1, series.components)[kept] for v in volumes])
    return places(series.grid.shape)[kept], torch.from_numpy(normalised(series, values))


def normalised(series: Series, values: np.ndarray) -> np.ndarray:
    """``values`` with the range of the whole series mapped to [-1, 1]."""
    centre, half = series.value_range().scale()
    return (values - centre) / half


def pretrain(
    series: Series, device: torch.device, rounds: int, width: int, batch: int, folder: Path
) -> tuple[PlainSiren, float]:
    """The common weights after so many rounds, and the seconds that all of them took.

    Rounds are kept in ``folder`` as they are done, and more are added to those that are there.
    """
    where, values = (t.to(device) for t in samples(series))
    settings = ["published", width, batch, str(device.type), where.cpu().numpy()]
    key = fingerprint(*settings, values.cpu().numpy())[:16]
    model = PlainSiren(width, HIDDEN, series.components).to(device)
    outer = torch.optim.Adam(model.parameters(), lr=1e-4)
    done, seconds = _restore(folder, key, rounds, model, outer)
    inner = dataclasses.replace(recipe(batch), rate=1e-4)
    saved, partial = time.perf_counter(), None
    while done < rounds:
        wait(device)
        started = time.perf_counter()
        _round(model, outer, where, values, inner)
        wait(device)
        seconds += time.perf_counter() - started
        done += 1
        if done == rounds or time.perf_counter() - saved > _SAVE_SECONDS:
            file = _save(folder, key, done, seconds, model, outer)
            if partial is not None:
                partial.unlink()
            partial, saved = file, time.perf_counter()
    return model, seconds


def _round(
    model: PlainSiren, outer: torch.optim.Adam, where: Tensor, values: Tensor, inner: Recipe
) -> None:
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for task in values:
        adapted = copy.deepcopy(model)
        for _ in fit(adapted, where, task, INNER_EPOCHS, inner):
            pass
        for total, parameter in zip(sums, adapted.parameters(), strict=True):
            total += parameter.detach()
    for parameter, total in zip(model.parameters(), sums, strict=True):
        parameter.grad = parameter.detach() - total / len(values)
    outer.step()


def _save(
    folder: Path,
    key: str,
    done: int,
    seconds: float,
    model: PlainSiren,
    outer: torch.optim.Adam,
) -> Path:
    tensors = {}
    for number, parameter in enumerate(model.parameters()):
        state = outer.state[parameter]
        tensors[f"{number}.weight"] = parameter.detach()
        tensors[f"{number}.first"] = state["exp_avg"]
        tensors[f"{number}.second"] = state["exp_avg_sq"]
    note = json.dumps({"rounds": done, "seconds": seconds})
    file = folder / f"published_{key}_{done}.safetensors"
    partial = file.with_suffix(".partial")
    save_file(tensors, partial, {"note": note})
    return partial.replace(file)


def _restore(
    folder: Path, key: str, rounds: int, model: PlainSiren, outer: torch.optim.Adam
) -> tuple[int, float]:
    """Rounds done and their seconds: of the file with the most, but no more than ``rounds``."""
    found: dict[int, Path] = {}
    for path in folder.glob(f"published_{key}_*.safetensors"):
        found[int(path.stem.rpartition("_")[2])] = path
    usable = [n for n in found if n <= rounds]
    if not usable:
        return 0, 0.0
    with safe_open(found[max(usable)], "pt") as file:
        note: dict[str, Any] = json.loads(file.metadata()["note"])
        for number, parameter in enumerate(model.parameters()):
            parameter.data.copy_(file.get_tensor(f"{number}.weight"))
            outer.state[parameter] = {
                "step": torch.tensor(float(note["rounds"])),
                "exp_avg": file.get_tensor(f"{number}.first").to(parameter.device),
                "exp_avg_sq": file.get_tensor(f"{number}.second").to(parameter.device),
            }
    return int(note["rounds"]), float(note["seconds"])
