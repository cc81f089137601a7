"""Fitting a batch of networks to the values of one volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import EncodeConfig
from .optim import MuonAdam, cosine
from .sampling import coordinates
from .series import Progress
from .siren import Siren, mean_squared_errors
from .training import Trainer, random_generator

# Activations of one layer in one minibatch; more networks than that are fitted in turn.
_ACTIVATIONS = 1 << 24
# Voxels of the volume, and at least of each network, that tell whether a target is reached.
_CHECK_VOXELS, _CHECK_EACH = 1 << 16, 64
# A sample can look better than the whole; 0.1 dB.
_MARGIN = 10 ** (-0.1 / 10)
_REPORT_EVERY = 32  # minibatches


def chosen_decay(config: EncodeConfig, minibatches: int) -> float:
    """Muon's weight decay for a fit of this length: 0.3 at a path of 3, with its square, up to 1.

    The path is how far Muon moves each singular value in all. Measured: at paths under 1 any
    decay costs precision, at 3 a decay of 0.3 is best, at 6 there is collapse without one
    (examples/benchmarks/RESULTS.md).
    """
    mean = 0.5 if config.schedule == "cosine" else 1.0
    path = MuonAdam.RATIO * config.learning_rate * mean * minibatches
    return min(0.3 * (path / 3) ** 2, 1.0)


@dataclass(frozen=True)
class Fitting:
    """How to fit: settings with their batch size and learning rate resolved.

    ``brick_shape``: (nz, ny, nx) voxels of every network. ``seeds`` decide the order of the
    voxels, which is one and the same for all networks: coordinates are made once. ``wanted``:
    mean squared error of the networks' output to stop at, 0 for none.
    """

    config: EncodeConfig
    brick_shape: tuple[int, int, int]
    dtype: torch.dtype
    seeds: tuple[int, int]
    wanted: float = 0.0

    def fit(self, siren: Siren, values: Tensor, progress: Progress) -> tuple[Siren, int]:
        """Fits ``siren`` in place to ``(networks, voxels, components)``; the passes it took."""
        spent = 0
        for epochs in self._rounds():
            groups = list(self._groups(siren))
            for number, group in enumerate(groups):

                def report(fraction: float, message: str, number: int = number) -> None:
                    done = spent + epochs * (number + fraction) / len(groups)  # noqa: B023
                    progress(done / self.config.epochs, message)

                part = siren.map(lambda t: t[group])  # noqa: B023
                self._descend(part, values[group], epochs, spent, report)
            spent += epochs
            if self.wanted and self._estimate(siren, values) <= self.wanted * _MARGIN:
                break
        return siren, spent

    def _rounds(self) -> Iterator[int]:
        """Passes per round: all at once, or 1, 1, 2, 4 … while a target may be reached early."""
        if not self.wanted:
            yield self.config.epochs
            return
        spent = 0
        while spent < self.config.epochs:
            size = min(max(spent, 1), self.config.epochs - spent)
            yield size
            spent += size

    def _groups(self, siren: Siren) -> Iterator[slice]:
        """Networks that are fitted together. Slices, so that tensors are views, not copies."""
        width = siren.weights[0].shape[2]
        size = max(_ACTIVATIONS // (self.config.batch_size * width), 1)
        for first in range(0, siren.networks, size):
            yield slice(first, first + size)

    def _descend(
        self, siren: Siren, values: Tensor, epochs: int, spent: int, progress: Progress
    ) -> None:
        """``epochs`` passes, with one decay of the learning rate over them."""
        config, voxels = self.config, values.shape[1]
        batches = -(-voxels // config.batch_size)
        total, done = epochs * batches, 0
        decay = config.weight_decay if config.weight_decay >= 0 else chosen_decay(config, total)
        trainer = Trainer(siren, config.optimizer, self.dtype, decay)
        for epoch in range(spent, spent + epochs):
            generator = random_generator(*self.seeds, epoch)
            order = torch.randperm(voxels, generator=generator).to(values.device)
            for index in order.tensor_split(batches):
                if done % _REPORT_EVERY == 0:
                    progress(done / total, f"pass {epoch + 1} of {config.epochs}")
                factor = cosine(done / total) if config.schedule == "cosine" else 1.0
                where = coordinates(index, self.brick_shape)[None]
                trainer.step(where, values[:, index], config.learning_rate * factor)
                done += 1

    @torch.no_grad()
    def _estimate(self, siren: Siren, values: Tensor) -> float:
        """Mean squared error over a sample of voxels."""
        voxels = values.shape[1]
        count = max(_CHECK_VOXELS // siren.networks, _CHECK_EACH)
        index = torch.randint(voxels, (count,), generator=random_generator(*self.seeds, -1))
        index = index.to(values.device)
        where = coordinates(index, self.brick_shape)[None]
        return float(mean_squared_errors(siren, where, values[:, index]).mean())
