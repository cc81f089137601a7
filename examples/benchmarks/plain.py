"""A SIREN and its training in plain PyTorch: what the core's own arithmetic is compared with.

Shares nothing with ``metainr_core``: autograd, ``torch.optim.Adam``, one volume at a time, the
whole volume on the device, its voxels in random order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from .timing import wait

OMEGA = 30.0


class PlainSiren(nn.Module):
    """3-width-width×hidden-components (Sitzmann et al. 2020, arXiv 2006.09661)."""

    def __init__(
        self,
        width: int,
        hidden: int,
        components: int = 1,
        *,
        first_scale: float = 1.0,
        seed: int = 0,
    ):
        super().__init__()
        sizes = [3] + [width] * (hidden + 1) + [components]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        draw = torch.Generator().manual_seed(seed)
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            inputs = layer.in_features
            bound = math.sqrt(6 / inputs) / OMEGA if number else first_scale / inputs
            nn.init.uniform_(layer.weight, -bound, bound, generator=draw)
            bound = 1 / math.sqrt(inputs)
            nn.init.uniform_(layer.bias, -bound, bound, generator=draw)

    def forward(self, where: Tensor) -> Tensor:
        *layers, last = self.layers
        for layer in layers:
            where = torch.sin(OMEGA * layer(where))
        return last(where)


@dataclass(frozen=True)
class Recipe:
    """How to train: Adam at ``rate``, falling to 0 along a cosine or constant."""

    batch: int
    rate: float
    cosine: bool = True
    bf16: bool = False


def places(shape: tuple[int, ...]) -> Tensor:
    """Coordinates x, y, z in [-1, 1] of all voxels of ``shape`` (nz, ny, nx): ``(voxels, 3)``."""
    axes = [torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1).reshape(-1, 3)


def fit(
    model: PlainSiren, where: Tensor, values: Tensor, epochs: float, recipe: Recipe
) -> Iterator[tuple[float, float]]:
    """Trains ``model`` in place on ``(voxels, 3)`` and ``(voxels, components)``.

    Yields the passes done and the seconds that they took after each pass; the clock stands still
    meanwhile. A broken number of passes ends within one.
    """
    voxels, device = len(where), where.device
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.rate)
    per_pass = -(-voxels // recipe.batch)
    total, done, seconds = max(1, round(epochs * per_pass)), 0, 0.0
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    while done < total:
        wait(device)
        started = time.perf_counter()
        order = torch.randperm(voxels, device=device)
        for index in order.split(recipe.batch)[: total - done]:
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
                output = model(where[index])
            nn.functional.mse_loss(output.float(), values[index]).backward()
            optimizer.step()
            if recipe.cosine:
                schedule.step()
            done += 1
        wait(device)
        seconds += time.perf_counter() - started
        yield done / per_pass, seconds


@torch.no_grad()
def evaluate(model: PlainSiren, where: Tensor) -> np.ndarray:
    """Values ``(voxels, components)`` in float32."""
    return torch.cat([model(part) for part in where.split(1 << 16)]).cpu().numpy()
