"""Minibatch descent on a batch of networks: what pretraining and encoding share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from . import fused
from .optim import Descent
from .rounding import Rounding
from .sampling import coordinates
from .siren import Siren, loss_and_gradients


@dataclass(frozen=True)
class Samples:
    """What ``N`` networks are trained on.

    ``values`` ``(N, n, components)`` float32; ``points`` ``(N, n)`` int32: the numbers of their
    voxels in a brick of ``brick_shape`` (nz, ny, nx), x fastest; None: sample i is voxel i.
    """

    values: Tensor
    brick_shape: tuple[int, int, int]
    points: Tensor | None = None

    def minibatch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates ``(N or 1, b, 3)`` and values of samples ``index`` ``(N or 1, b)``."""
        index = index.long()
        if self.points is None and len(index) == 1:
            return coordinates(index, self.brick_shape), self.values[:, index[0]]
        rows = torch.arange(len(self.values), device=index.device)[:, None]
        voxels = index if self.points is None else self.points[rows, index]
        return coordinates(voxels, self.brick_shape), self.values[rows, index]


class State(NamedTuple):
    """Where ``N`` networks and their optimizer are, ``(N, parameters)`` each; steps ``taken``."""

    weights: Tensor
    first: Tensor
    second: Tensor
    taken: int

    def part(self, networks: slice) -> State:
        first, second = self.first[networks], self.second[networks]
        return State(self.weights[networks], first, second, self.taken)

    @staticmethod
    def concatenate(states: Sequence[State]) -> State:
        weights, first, second = (torch.cat(t) for t in zip(*(s[:3] for s in states), strict=True))
        return State(weights, first, second, states[0].taken)


class Trainer:
    """A batch of networks, their samples and their optimizer.

    On a CPU minibatches run in ``fused``, one network per thread; without it, and on a GPU, in
    PyTorch. There one minibatch is one CUDA graph that finds its own place in the schedule.
    """

    def __init__(
        self,
        siren: Siren,
        samples: Samples,
        optimizer: str,
        dtype: torch.dtype,
        weight_decay: float = 0.0,
        hidden: bool = True,
    ):
        """``dtype``: of the products of hidden layers and of Muon. ``hidden``: whether the hidden
        matrices are trained. ``siren`` is copied.
        """
        self.weights = siren.flat()
        self.siren = siren.view(self.weights)
        self.samples = samples
        self.dtype = dtype
        self.descent = Descent(self.siren, optimizer == "muon", weight_decay, dtype, hidden)
        self._rounding: Rounding | None = None
        # Two sizes at most: the whole minibatches of a pass and what is left of it.
        self._loops: dict[tuple[int, int], _Loop] = {}

    def restart(self, siren: Siren, samples: Samples) -> None:
        """Begins anew from other weights, on as many other samples."""
        self.weights.copy_(siren.flat())
        self.samples.values.copy_(samples.values)
        if self.samples.points is not None and samples.points is not None:
            self.samples.points.copy_(samples.points)
        self.descent.restart()

    @property
    def state(self) -> State:
        return State(self.weights, self.descent.first, self.descent.second, self.descent.count)

    def resume(self, state: State) -> None:
        """Goes on from where another trainer of as many networks was."""
        for mine, other in zip(self.state[:3], state[:3], strict=True):
            mine.copy_(other)
        self.descent.count = state.taken

    def round_to(self, rounding: Rounding | None) -> None:
        """From now on gradients are those at the rounded weights (straight-through estimation:
        Bengio et al. 2013, arXiv 1308.3432); ``weights`` stay free.
        """
        self._rounding = rounding
        self._loops.clear()

    def run(self, index: Tensor, rates: Sequence[float]) -> Tensor:
        """One step per rate: the losses ``(steps, N)`` before each.

        ``index`` ``(N or 1, steps, b)`` int32: the samples of each minibatch, for each network or
        the same for all. On a GPU the losses are there when they are read.
        """
        schedule = self.descent.schedule(rates)
        if fused.serves(self.weights.device, self.dtype):
            return self._run_fused(index, schedule)
        return self._run_torch(index, schedule)

    def _run_fused(self, index: Tensor, schedule: Tensor) -> Tensor:
        descent, samples = self.descent, self.samples
        return fused.fit(
            self.siren,
            self.weights,
            (descent.first, descent.second),
            fused.Settings(descent.muon, descent.hidden, *descent.betas, descent.MOMENTUM),
            samples.values,
            samples.points,
            samples.brick_shape,
            index,
            schedule,
            self.dtype,
            self._rounding,
        )

    def _run_torch(self, index: Tensor, schedule: Tensor) -> Tensor:
        device, steps = self.weights.device, len(schedule)
        size = index.shape[0], index.shape[2]
        if size not in self._loops or self._loops[size].buffers.steps < steps:
            self._loops.pop(size, None)  # its memory first
            buffers = _Buffers(index, len(self.weights), device)
            graph = self._captured(buffers) if device.type == "cuda" else None
            self._loops[size] = _Loop(buffers, graph)
        buffers, graph = self._loops[size]
        buffers.index[:, :steps].copy_(index, non_blocking=True)
        buffers.schedule[:steps].copy_(schedule, non_blocking=True)
        buffers.at.zero_()
        for _ in range(steps):
            if graph is None:
                self._minibatch(buffers)
            else:
                graph.replay()
        return buffers.losses[:steps].clone()

    @torch.no_grad()
    def _minibatch(self, buffers: _Buffers) -> None:
        """The one that ``buffers.at`` points to; moves on. Takes nothing from the host."""
        index = buffers.index.index_select(1, buffers.at).squeeze(1)
        where, values = self.samples.minibatch(index)
        rounding = self._rounding
        siren = self.siren.view(rounding.round(self.weights)) if rounding else self.siren
        loss, gradients = loss_and_gradients(siren, where, values, self.dtype)
        flat = torch.cat([g.flatten(1) for g in gradients], dim=1)
        row = buffers.schedule.index_select(0, buffers.at)[0]
        self.descent.step(self.weights, flat, row)
        if rounding:
            self.weights.copy_(rounding.pulled(self.weights, row[2]))
        buffers.losses.index_copy_(0, buffers.at, loss[None])
        buffers.at += 1

    def _captured(self, buffers: _Buffers) -> torch.cuda.CUDAGraph:
        """A minibatch as a CUDA graph: hundreds of small kernels in one launch."""
        state = (self.weights, self.descent.first, self.descent.second)
        kept = [t.clone() for t in state]
        # Libraries set themselves up in their first calls, which must not be captured.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._minibatch(buffers)
        torch.cuda.current_stream().wait_stream(stream)
        for tensor, old in zip(state, kept, strict=True):
            tensor.copy_(old)
        buffers.at.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._minibatch(buffers)
        return graph


class _Buffers:
    """What the minibatches of PyTorch's loop work on: tensors that stay where they are."""

    def __init__(self, index: Tensor, networks: int, device: torch.device):
        self.index = index.to(device, copy=True)
        self.schedule = torch.zeros(index.shape[1], 4, device=device)
        self.losses = torch.zeros(index.shape[1], networks, device=device)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)

    @property
    def steps(self) -> int:
        return self.index.shape[1]


class _Loop(NamedTuple):
    """Buffers and, on a GPU, the captured minibatch on them.

    The trainer must not be in it: a cycle would keep a GPU's memory until Python looks for such.
    """

    buffers: _Buffers
    graph: torch.cuda.CUDAGraph | None


def random_generator(*seeds: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose: equal seeds, equal draws, on every machine's CPU.

    One generator per round or pass, not one running through, so that work continued after an
    interruption draws what an uninterrupted run would have drawn.
    """
    seed = 0
    for part in seeds:
        seed = (seed * 1_000_003 + part + 1) % (2**63 - 1)
    return torch.Generator(device).manual_seed(seed)
