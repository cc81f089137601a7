"""Fitting batches of networks to the values of volumes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from . import fused
from .config import EncodeConfig
from .device import in_parts
from .optim import Descent, cosine
from .rounding import Rounding, choose_codes
from .sampling import coordinates, gradient_shares, systematic_draws
from .series import Progress
from .siren import Siren, mean_squared_errors
from .sparing import spare, within_budget
from .training import Samples, State, Trainer, random_generator

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
# Of a volume, that tell how coarse its weights may be.
_ROUGH_VOXELS = 1 << 13
# Share of a fit that minds the rounding. How many steps, at most, a fit that minds it throughout
# pulls every weight to its reference: one for each dB that coding may cost
# (examples/benchmarks/RESULTS.md).
_MINDING, _MOST_PULL = 0.25, 1.0
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
class RoundingPlan:
    """What the weights of a fit are rounded to.

    ``reference``: of all networks. ``share``: of a volume's mean squared error, that rounding may
    add to it. ``expected``: that error for each volume, ``(volumes,)``, if it is known beforehand:
    then the whole fit minds the rounding, otherwise its last part. ``budget``: bytes that a
    volume's coded weights may take; the steps grow until they do not take more.
    """

    reference: Siren
    share: float
    expected: Tensor | None = None
    budget: float = math.inf


class Fitted(NamedTuple):
    """Networks, the passes that each volume took, and the steps of the weights' grid.

    ``codes`` are those of ``Rounding``, ``(networks, tensors)``; None without a plan.
    """

    siren: Siren
    passes: list[int]
    codes: Tensor | None


class _Leg(NamedTuple):
    """Minibatches ``first`` to ``last`` - 1 of a fit; the rate decays over ``span``.

    ``state``: of a leg before that this one goes on from.
    """

    first: int
    last: int
    span: tuple[int, int]
    rounding: Rounding | None = None
    state: State | None = None


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

    def fit(
        self, siren: Siren, values: Tensor, progress: Progress, plan: RoundingPlan | None = None
    ) -> Fitted:
        """Fits networks to volumes, ``values`` ``(volumes × bricks, n, components)``."""
        weights, device = siren.flat(), values.device
        volumes = len(weights) // self.bricks
        passes = [0] * volumes
        codes = None
        if plan is not None:
            codes = torch.zeros(len(weights), len(siren.tensors), dtype=torch.uint8, device=device)
        active = torch.arange(volumes, device=device)
        batches = self._batches(values)
        for spent, epochs in self._rounds():
            rows = torch.arange(len(weights), device=device).view(volumes, -1)[active].flatten()
            part = values if len(active) == volumes else values[rows]
            span = spent * batches, (spent + epochs) * batches
            leg = _Leg(*span, span)
            fitted = weights[rows]
            if plan is None or codes is None:
                fitted = self._run(siren.view(fitted), part, leg, progress).weights
            else:
                reference = plan.reference.map(lambda t: t[rows])  # noqa: B023
                known = None if plan.expected is None else plan.expected[active]
                own = RoundingPlan(reference, plan.share, known, plan.budget)
                fitted, codes[rows] = self._run_rounded(
                    siren.view(fitted), part, leg, progress, own
                )
            weights[rows] = fitted
            for volume in active.tolist():
                passes[volume] = spent + epochs
            if self.wanted:
                errors = self._estimate(siren.view(fitted), part, _CHECK_VOXELS)
                active = active[errors > self.wanted * _MARGIN]
            if not len(active):
                break
        return Fitted(siren.view(weights), passes, codes)

    def _batches(self, values: Tensor) -> int:
        """Minibatches of a pass."""
        return -(-values.shape[1] // self.config.batch_size)

    def _rounds(self) -> Iterator[tuple[int, int]]:
        """Passes before and in each round: all at once, or 1, 1, 2, 4 … on the way to a target."""
        spent = 0
        while spent < self.config.epochs:
            left = self.config.epochs - spent
            size = min(max(spent, 1), left) if self.wanted else left
            yield spent, size
            spent += size

    def _run_rounded(
        self, siren: Siren, values: Tensor, leg: _Leg, progress: Progress, plan: RoundingPlan
    ) -> tuple[Tensor, Tensor]:
        """Rounded weights ``(networks, parameters)`` and the codes of their steps."""
        errors = plan.expected
        if errors is None:
            minding = max(round((leg.last - leg.first) * _MINDING), 1)
            middle = leg.last - minding
            state = self._run(siren, values, leg._replace(last=middle), progress)
            siren, leg = siren.view(state.weights), leg._replace(first=middle, state=state)
            errors = self._estimate(siren, values, _ROUGH_VOXELS)
        fine = self._codes(siren, plan.share * errors)
        # Where there is a target, most of what is better than it is given to the rounding.
        added = torch.maximum(plan.share * errors, 0.7 * (self.wanted * _MARGIN - errors))
        codes = self._codes(siren, added)
        codes = within_budget(siren, codes, plan.reference, self.bricks, plan.budget)
        pull = 0.0
        if plan.expected is not None:
            way = Descent.RATIO * sum(self._rates(leg, leg.first, leg.last))
            pull = min(self.config.coding_loss, _MOST_PULL) / way
        leg = leg._replace(rounding=Rounding.of(plan.reference, codes, pull))
        fitted = self._run(siren, values, leg, progress).weights
        codes = within_budget(siren.view(fitted), codes, plan.reference, self.bricks, plan.budget)
        if self.wanted and plan.budget == math.inf:
            codes = self._refined(siren.view(fitted), values, codes, fine, plan)
        rounding = Rounding.of(plan.reference, codes)
        networks = spare(
            siren.view(fitted),
            rounding,
            values.mean(1),
            added.repeat_interleave(self.bricks),
            lambda s: self._errors(s, values, _ROUGH_VOXELS),
        )
        return networks.flat(), codes

    def _codes(self, siren: Siren, added: Tensor) -> Tensor:
        """Steps for volumes whose mean squared error may grow by ``added`` ``(volumes,)``."""
        hidden, codes = self.config.adapt == "all", []
        # Volume by volume: how they are measured depends on how many networks there are.
        for volume, allowed in enumerate(added):
            own = slice(volume * self.bricks, (volume + 1) * self.bricks)
            part = siren.map(lambda t: t[own])  # noqa: B023
            codes.append(choose_codes(part, allowed.expand(self.bricks), hidden))
        return torch.cat(codes)

    def _refined(
        self, siren: Siren, values: Tensor, codes: Tensor, fine: Tensor, plan: RoundingPlan
    ) -> Tensor:
        """The codes, lowered for volumes that miss the target, down to ``fine`` at most."""
        while True:
            rounded = Rounding.of(plan.reference, codes).round(siren.flat())
            errors = self._estimate(siren.view(rounded), values, _CHECK_VOXELS)
            missed = (errors > self.wanted * _MARGIN).repeat_interleave(self.bricks)[:, None]
            lower = torch.where(missed, torch.minimum(codes, torch.maximum(fine, codes - 4)), codes)
            if torch.equal(lower, codes):
                return codes
            codes = lower

    def _run(self, siren: Siren, values: Tensor, leg: _Leg, progress: Progress) -> State:
        """Where the networks and their optimizer are after a leg, in parts that fit in memory."""
        networks, kind = siren.networks, values.device.type
        limit = _VOXELS[kind] // values.shape[1]
        if fused.serves(values.device, self.dtype):
            limit = max(limit, torch.get_num_threads())
        else:
            width = siren.weights[0].shape[2]
            limit = min(limit, _ACTIVATIONS[kind] // (self.config.batch_size * width))
        everything = self.config.epochs * self._batches(values)
        result: list[State] = []

        def descend(part: slice) -> None:
            def report(fraction: float, message: str) -> None:
                share = (part.start + fraction * (part.stop - part.start)) / networks
                done = leg.first + share * (leg.last - leg.first)
                progress(done / everything, message)

            own = leg
            if leg.rounding is not None:
                own = own._replace(rounding=leg.rounding.part(part))
            if leg.state is not None:
                own = own._replace(state=leg.state.part(part))
            result.append(self._descend(siren.map(lambda t: t[part]), values[part], own, report))

        in_parts(networks, max(limit, 1), descend, "networks are fitted")
        return State.concatenate(result)

    def _rates(self, leg: _Leg, first: int, last: int) -> list[float]:
        """Learning rates of minibatches ``first`` to ``last`` - 1 of a leg."""
        rate = self.config.learning_rate
        if self.config.schedule != "cosine":
            return [rate] * (last - first)
        start, end = leg.span
        return [rate * cosine((i - start) / (end - start)) for i in range(first, last)]

    def _descend(self, siren: Siren, values: Tensor, leg: _Leg, progress: Progress) -> State:
        config, voxels = self.config, values.shape[1]
        batches = self._batches(values)
        decay = config.weight_decay
        if decay < 0:
            decay = chosen_decay(config, leg.span[1] - leg.span[0])
        samples = Samples(values, self.brick_shape)
        shares = None
        if config.selection == "gradient" and voxels <= _DRAWN_VOXELS:
            shares = gradient_shares(values, self.brick_shape)
        hidden = config.adapt == "all"
        trainer = Trainer(siren, samples, config.optimizer, self.dtype, decay, hidden)
        trainer.round_to(leg.rounding)
        if leg.state is not None:
            trainer.resume(leg.state)
        size = max(_REPORT_EVERY // (config.batch_size * siren.networks), 1)
        done = leg.first
        while done < leg.last:
            epoch, begin = divmod(done, batches)
            order = self._order(samples, shares, batches, epoch)
            end = min(batches, begin + leg.last - done)
            for index in order[:, begin:end].split(size, dim=1):
                passed = (done - leg.first) / (leg.last - leg.first)
                progress(passed, f"pass {epoch + 1} of {config.epochs}")
                trainer.run(index, self._rates(leg, done, done + index.shape[1]))
                done += index.shape[1]
        return trainer.state

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

    def _estimate(self, siren: Siren, values: Tensor, voxels: int) -> Tensor:
        """Mean squared error of each volume, ``(volumes,)``, over a sample of voxels."""
        return self._errors(siren, values, voxels).view(-1, self.bricks).mean(dim=1)

    @torch.no_grad()
    def _errors(self, siren: Siren, values: Tensor, voxels: int) -> Tensor:
        """The same of each network, ``(networks,)``."""
        count = max(voxels // self.bricks, _CHECK_EACH)
        generator = random_generator(self.config.seed, -1)
        index = torch.randint(values.shape[1], (count,), generator=generator).to(values.device)
        where = coordinates(index, self.brick_shape)[None]
        return mean_squared_errors(siren, where, values[:, index])
