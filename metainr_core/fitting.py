"""Fitting batches of networks to the values of volumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from . import fused
from .config import EncodeConfig
from .device import in_parts
from .optim import Descent, cosine
from .sampling import coordinates, gradient_shares, systematic_draws
from .series import Progress
from .siren import Siren, mean_squared_errors
from .training import Samples, Trainer, random_generator

# More networks are fitted in turn. PyTorch keeps a minibatch's activations (of one layer), and
# drawing voxels takes 60 bytes each for a moment.
_ACTIVATIONS = {"cpu": 1 << 22, "cuda": 1 << 27}
_VOXELS = {"cpu": 1 << 21, "cuda": 1 << 26}
# A single network of more voxels than that takes each once: the memory again.
_DRAWN_VOXELS = 1 << 22
# Voxels between two reports of progress: a fraction of a second.
_REPORT_EVERY = 1 << 20
# Voxels of a volume, and at least of each network, that tell whether a target is reached.
_CHECK_VOXELS, _CHECK_EACH = 1 << 16, 64
# Multiples of it, modulo 1, fall evenly.
_GOLDEN = (5**0.5 - 1) / 2
# A sample can look better than the whole; 0.1 dB.
_MARGIN = 10 ** (-0.1 / 10)


def chosen_decay(config: EncodeConfig, minibatches: int) -> float:
    """Muon's weight decay for a fit of this length: 0.3 at a path of 3, with its square, up to 1.

    The path is how far Muon moves each singular value in all. Measured: at paths under 1 any
    decay costs precision, at 3 a decay of 0.3 is best, at 6 there is collapse without one
    (examples/benchmarks/RESULTS.md).
    """
    mean = 0.5 if config.schedule == "cosine" else 1.0
    path = Descent.RATIO * config.learning_rate * mean * minibatches
    return min(0.3 * (path / 3) ** 2, 1.0)


@dataclass(frozen=True)
class Fitting:
    """How to fit: settings with their batch size and learning rate resolved.

    ``brick_shape``: (nz, ny, nx) voxels of every network, ``bricks``: networks of a volume.
    The seed decides the order of the voxels, which is one and the same for all networks of all
    volumes: what a network becomes does not depend on those that are fitted beside it.
    ``wanted``: mean squared error of a volume's networks to stop at, 0 for none.
    """

    config: EncodeConfig
    brick_shape: tuple[int, int, int]
    bricks: int
    dtype: torch.dtype
    wanted: float = 0.0

    def fit(self, siren: Siren, values: Tensor, progress: Progress) -> tuple[Siren, list[int]]:
        """Fits networks to one or more volumes, ``values`` ``(volumes × bricks, n, components)``.

        Returns the fitted networks and the passes that each volume took.
        """
        weights = siren.flat()
        volumes = len(weights) // self.bricks
        passes = [0] * volumes
        active = list(range(volumes))
        for spent, epochs in self._rounds():
            rows = torch.arange(len(weights), device=weights.device).view(volumes, -1)[active]
            everything = len(active) == volumes
            part = values if everything else values[rows.flatten()]
            fitted = self._round(siren.view(weights[rows.flatten()]), part, spent, epochs, progress)
            weights[rows.flatten()] = fitted
            for volume in active:
                passes[volume] = spent + epochs
            if self.wanted:
                errors = self._estimate(siren.view(fitted), part)
                missed = (errors > self.wanted * _MARGIN).tolist()
                active = [v for v, miss in zip(active, missed, strict=True) if miss]
            if not active:
                break
        return siren.view(weights), passes

    def _rounds(self) -> Iterator[tuple[int, int]]:
        """Passes before and in each round: all at once, or 1, 1, 2, 4 … on the way to a target."""
        spent = 0
        while spent < self.config.epochs:
            left = self.config.epochs - spent
            size = min(max(spent, 1), left) if self.wanted else left
            yield spent, size
            spent += size

    def _round(
        self, siren: Siren, values: Tensor, spent: int, epochs: int, progress: Progress
    ) -> Tensor:
        """The weights ``(networks, parameters)`` after some passes, in parts that fit in memory."""
        networks, kind = siren.networks, values.device.type
        limit = _VOXELS[kind] // values.shape[1]
        if fused.serves(values.device, self.dtype):
            limit = max(limit, torch.get_num_threads())
        else:
            width = siren.weights[0].shape[2]
            limit = min(limit, _ACTIVATIONS[kind] // (self.config.batch_size * width))
        result: list[Tensor] = []

        def descend(part: slice) -> None:
            def report(fraction: float, message: str) -> None:
                share = (part.start + fraction * (part.stop - part.start)) / networks
                progress((spent + epochs * share) / self.config.epochs, message)

            own = siren.map(lambda t: t[part])
            result.append(self._descend(own, values[part], spent, epochs, report))

        in_parts(networks, max(limit, 1), descend, "networks are fitted")
        return torch.cat(result)

    def _descend(
        self, siren: Siren, values: Tensor, spent: int, epochs: int, progress: Progress
    ) -> Tensor:
        """``epochs`` passes, with one decay of the learning rate over them."""
        config, voxels = self.config, values.shape[1]
        batches = -(-voxels // config.batch_size)
        total, done = epochs * batches, 0
        decay = config.weight_decay if config.weight_decay >= 0 else chosen_decay(config, total)
        samples = Samples(values, self.brick_shape)
        shares = None
        if config.selection == "gradient" and voxels <= _DRAWN_VOXELS:
            shares = gradient_shares(values, self.brick_shape)
        trainer = Trainer(siren, samples, config.optimizer, self.dtype, decay)
        size = max(_REPORT_EVERY // (config.batch_size * siren.networks), 1)
        for epoch in range(spent, spent + epochs):
            for index in self._order(samples, shares, batches, epoch).split(size, dim=1):
                progress(done / total, f"pass {epoch + 1} of {config.epochs}")
                steps = range(done, done + index.shape[1])
                cosines = config.schedule == "cosine"
                factors = [cosine(i / total) if cosines else 1.0 for i in steps]
                trainer.run(index, [config.learning_rate * f for f in factors])
                done += len(steps)
        return trainer.weights

    def _order(self, samples: Samples, shares: Tensor | None, batches: int, epoch: int) -> Tensor:
        """The voxels of a pass as minibatches of one size, ``(N or 1, batches, size)`` int32.

        All in random order, a few of them twice where they do not divide evenly; or as many
        draws by ``shares``.
        """
        voxels, device = samples.values.shape[1], samples.values.device
        generator = random_generator(self.config.seed, epoch, device=device)
        draws = -(-voxels // batches) * batches
        order = torch.randperm(draws, generator=generator, dtype=torch.int32, device=device)
        if shares is None:
            order[order >= voxels] -= voxels
            index = order[None]
        else:
            offset = (epoch * _GOLDEN) % 1
            index = systematic_draws(shares, order.long(), offset)
        return index.view(len(index), batches, -1)

    @torch.no_grad()
    def _estimate(self, siren: Siren, values: Tensor) -> Tensor:
        """Mean squared error of each volume, ``(volumes,)``, over a sample of voxels."""
        count = max(_CHECK_VOXELS // self.bricks, _CHECK_EACH)
        generator = random_generator(self.config.seed, -1)
        index = torch.randint(values.shape[1], (count,), generator=generator).to(values.device)
        where = coordinates(index, self.brick_shape)[None]
        errors = mean_squared_errors(siren, where, values[:, index])
        return errors.view(-1, self.bricks).mean(dim=1)
