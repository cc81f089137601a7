"""Learning the prior: Reptile, first-order and full MAML, and pooled training."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from .config import PretrainConfig, SirenConfig
from .device import find_device, find_dtype, in_parts
from .divergence import problem_of_round
from .errors import ArchiveError, Cancelled, MetaINRError, PriorError
from .hashing import fingerprint
from .layout import BrickLayout, choose_siren
from .locking import file_lock
from .optim import Adam, cosine
from .prior import Prior
from .sampling import TaskSamples, draw_samples
from .series import Progress, Series, no_progress
from .siren import Siren, initialize, loss_and_gradients, mean_squared_errors
from .time_left import time_left
from .training import Samples, Trainer, random_generator
from .writing import check_writable, remove_leftovers_of

# Tasks that are adapted at once; more are done in turn, which only costs memory less.
_TASKS_AT_ONCE = 64
# Seconds of training that are lost at most when the process is killed.
_SAVE_EVERY = 5.0

# Mean squared error, of values in [-1, 1], up to which a prior is of use whatever it was before.
_SMALL_LOSS = 0.1

# Sums over tasks for the outer update, and each task's loss before and after the inner loop.
_Adapted = tuple[list[Tensor], Tensor, Tensor]


def pretrain(
    series: Series,
    config: PretrainConfig | None = None,
    path: str | Path | None = None,
    *,
    progress: Progress = no_progress,
) -> Prior:
    """Learns initial weights for the networks of ``series`` from a sparse sample of it.

    With ``path`` the prior is saved there. A finished prior of the same data and settings that
    is already there is returned without training; an unfinished one is continued, with the same
    result as without the interruption. The finished rounds are saved every few seconds, and when
    ``progress`` raises ``Cancelled``, which goes on. Raises MetaINRError on bad input, and where
    another process or filter is writing ``path``.
    """
    if path is None:
        return _pretrain(series, config or PretrainConfig(), None, progress)
    path = Path(path)
    unwritable = None
    try:
        check_writable(path)
    except ArchiveError as error:
        if not os.path.isfile(path):
            raise
        unwritable = error  # it may hold this very prior, and need not be written
    with file_lock(path).used(alone=True):
        remove_leftovers_of(path)
        return _pretrain(series, config or PretrainConfig(), path, progress, unwritable)


def _pretrain(
    series: Series,
    config: PretrainConfig,
    path: Path | None,
    progress: Progress,
    unwritable: ArchiveError | None = None,
) -> Prior:
    device = find_device(config.device)
    siren_config = config.siren or choose_siren(series.grid, series.components)
    layout = BrickLayout.of(series.grid.dims, siren_config.brick_size)
    samples = draw_samples(series, layout, config, lambda f, m: progress(0.1 * f, m))
    prior = _start(series, config, siren_config, samples, path)
    if prior.finished:
        progress(1.0, f"{path} already holds this prior")
        return prior
    if unwritable is not None:
        raise unwritable
    rounds = _Rounds(prior, samples, device)
    saved = time.monotonic()
    try:
        while not rounds.finished:
            rounds.run()
            progress(0.1 + 0.9 * rounds.fraction, rounds.message)
            if path is not None and time.monotonic() - saved > _SAVE_EVERY:
                rounds.prior().save(path)
                saved = time.monotonic()
    except Cancelled:
        if path is not None and rounds.history:
            rounds.prior().save(path)
        raise
    prior = rounds.prior()
    if path is not None:
        prior.save(path)
    return prior


def _start(
    series: Series,
    config: PretrainConfig,
    siren_config: SirenConfig,
    samples: TaskSamples,
    path: Path | None,
) -> Prior:
    """What ``path`` holds of this very training, or a prior without a round."""
    settings = config.to_json()
    settings.update(siren=siren_config.to_json(), device=None)
    identity = fingerprint(settings, series.array, samples.fingerprint())
    if path is not None and path.exists():
        found = Prior.load(path)
        if found.fingerprint == identity and (found.finished or found.kind == "meta"):
            return found
    generator = random_generator(config.seed)
    shape = samples.brick_shape
    start = initialize(siren_config, 1, series.components, generator, shape)
    return Prior(
        siren=start,
        siren_config=siren_config,
        config=dataclasses.replace(config, siren=siren_config),
        array=series.array,
        components=series.components,
        value_range=samples.value_range,
        voxel_share=samples.voxel_share,
        history=[],
        fingerprint=identity,
    )


class _Rounds:
    """The outer loop: one call of ``run`` is one round."""

    def __init__(self, prior: Prior, samples: TaskSamples, device: torch.device):
        self._prior = prior
        self.config = prior.config
        self.siren = prior.siren.clone().to(device)
        self.history = list(prior.history)
        self.samples = Samples(
            samples.values.to(device), samples.brick_shape, samples.index.to(device)
        )
        # Mean squared error of a constant.
        self._spread = float(samples.values.var(dim=(0, 1), correction=0).mean())
        self.device = device
        self.dtype = find_dtype(self.config.precision, device)
        self.outer = Adam(self.siren.tensors) if self.config.outer_learning_rate else None
        if self.outer and prior.outer_state:
            state = prior.outer_state
            self.outer.first = state["first"].to(device).tensors
            self.outer.second = state["second"].to(device).tensors
            self.outer.count = len(self.history)
        self.trainers: dict[int, Trainer] = {}
        self.at_once = _TASKS_AT_ONCE
        if self.config.outer == "pooled":
            self.pooled = self._trainer(self.siren, self._all_samples())
            self.siren = self.pooled.siren
        earlier = self.history[-1]["seconds"] if self.history else 0.0
        self.started = time.perf_counter() - earlier

    @property
    def fraction(self) -> float:
        return len(self.history) / self.config.outer_steps

    @property
    def finished(self) -> bool:
        return len(self.history) >= self.config.outer_steps

    @property
    def message(self) -> str:
        last = self.history[-1]
        return (
            f"pretrain {len(self.history)}/{self.config.outer_steps},"
            f" loss {last['loss_after']:.2e}, {time_left(last['seconds'], self.fraction)}"
        )

    def prior(self) -> Prior:
        state = {}
        if self.outer and not self.finished:
            state = {
                "first": self.siren.with_tensors(self.outer.first),
                "second": self.siren.with_tensors(self.outer.second),
            }
        return dataclasses.replace(
            self._prior,
            siren=self.siren.to(torch.device("cpu")).clone(),
            history=self.history,
            outer_state=state,
        )

    def run(self) -> None:
        generator = random_generator(self.config.seed, 1, len(self.history))
        run = self._pooled_round if self.config.outer == "pooled" else self._meta_round
        before, after = run(generator)
        self._check(before.item(), after.item())
        self.history.append(
            {
                "round": len(self.history) + 1,
                "loss_before": before.item(),
                "loss_after": after.item(),
                "seconds": time.perf_counter() - self.started,
            }
        )

    def _check(self, before: float, after: float) -> None:
        """Raises MetaINRError where a round has left nothing that a fit could start from."""
        first = self.history[0]["loss_before"] if self.history else before
        number, last = len(self.history) + 1, len(self.history) + 1 == self.config.outer_steps
        worst = max(first, self._spread, _SMALL_LOSS) if last else math.inf
        if problem := problem_of_round(self.siren, after, worst):
            cure = f"lower learning_rate ({self.config.learning_rate:g})"
            if self.config.outer_learning_rate:
                cure += f" or outer_learning_rate ({self.config.outer_learning_rate:g})"
            raise MetaINRError(f"pretraining diverged in round {number}: {problem}; {cure}")

    def _trainer(self, siren: Siren, samples: Samples) -> Trainer:
        config = self.config
        return Trainer(siren, samples, config.optimizer, self.dtype, config.weight_decay)

    def _of_tasks(self, tasks: Tensor) -> Samples:
        assert self.samples.points is not None
        values, points = self.samples.values[tasks], self.samples.points[tasks]
        return Samples(values, self.samples.brick_shape, points)

    def _all_samples(self) -> Samples:
        """Those of all tasks, as one network's."""
        assert self.samples.points is not None
        values, points = self.samples.values, self.samples.points
        together = values.flatten(0, 1)[None], points.flatten()[None]
        return Samples(together[0], self.samples.brick_shape, together[1])

    def _minibatches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Sample numbers ``(count, steps, batch)`` of runs of inner steps with one batch size."""
        config, samples = self.config, self.samples.values.shape[1]
        size = min(config.batch_size, samples)
        if config.sampling == "random":
            shape = (count, config.inner_steps, size)
            runs = [torch.randint(samples, shape, generator=generator)]
        else:
            runs = []
            for _ in range(config.inner_steps):
                order = torch.rand(count, samples, generator=generator).argsort(1)
                whole = samples // size * size
                runs.append(order[:, :whole].view(count, -1, size))
                if whole < samples:
                    runs.append(order[:, None, whole:])
        return [r.to(torch.int32).to(self.device) for r in runs]

    def _meta_round(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        config, total = self.config, len(self.samples.values)
        count = min(config.tasks or total, total)
        chosen = torch.randperm(total, generator=generator)[:count].to(self.device)
        sums = [torch.zeros_like(t) for t in self.siren.tensors]
        losses = torch.zeros(2, device=self.device)
        adapt = {"reptile": self._reptile, "fomaml": self._fomaml, "maml": self._maml}

        def run(part: slice) -> None:
            results, before, after = adapt[config.outer](chosen[part], generator)
            torch._foreach_add_(sums, results)
            losses.add_(torch.stack([before.sum(), after.sum()]))

        self.at_once = in_parts(count, self.at_once, run, "tasks are adapted")
        torch._foreach_div_(sums, count)
        self._outer_step(sums)
        before, after = losses / count
        return before, after

    def _outer_step(self, means: list[Tensor]) -> None:
        """``means``: of the adapted weights (Reptile), or of the outer gradients (MAML)."""
        weights = self.siren.tensors
        if self.outer is None:
            torch._foreach_lerp_(weights, means, 1 - self.fraction)
            return
        if self.config.outer == "reptile":
            means = list(torch._foreach_sub(weights, means))
        self.outer.step(means, self.config.outer_learning_rate)

    def _adapt(self, tasks: Tensor, runs: list[Tensor]) -> tuple[Siren, Tensor, Tensor]:
        """The weights after the inner loop of each task, and its first and last losses."""
        config, samples = self.config, self._of_tasks(tasks)
        start = self.siren.repeat(len(tasks))
        # Kept for the next round, if there is memory for its work.
        trainer = self.trainers.pop(len(tasks), None)
        if trainer is None:
            trainer = self._trainer(start, samples)
        else:
            trainer.restart(start, samples)
        total, done = sum(r.shape[1] for r in runs), 0
        losses = []
        for index in runs:
            steps = range(done, done + index.shape[1])
            factors = [cosine(i / total, config.inner_floor) for i in steps]
            losses.append(trainer.run(index, [config.learning_rate * f for f in factors]))
            done += len(steps)
        self.trainers[len(tasks)] = trainer
        return trainer.siren, losses[0][0], losses[-1][-1]

    def _reptile(self, tasks: Tensor, generator: torch.Generator) -> _Adapted:
        """Sums of the adapted weights (Nichol et al. 2018, arXiv 1803.02999)."""
        adapted, before, after = self._adapt(tasks, self._minibatches(len(tasks), generator))
        return [t.sum(0, keepdim=True) for t in adapted.tensors], before, after

    def _fomaml(self, tasks: Tensor, generator: torch.Generator) -> _Adapted:
        """Sums of the gradients at the adapted weights (Finn et al. 2017, first order)."""
        runs = self._minibatches(len(tasks), generator)
        query = self._minibatches(len(tasks), generator)[0][:, 0]
        adapted, before, _ = self._adapt(tasks, runs)
        where, values = self._of_tasks(tasks).minibatch(query)
        after, gradients = loss_and_gradients(adapted, where, values, self.dtype)
        return [g.sum(0, keepdim=True) for g in gradients], before, after

    def _maml(self, tasks: Tensor, generator: torch.Generator) -> _Adapted:
        """Sums of the gradients through an inner loop of plain descent (Finn et al. 2017)."""
        samples = self._of_tasks(tasks)
        runs = self._minibatches(len(tasks), generator)
        query = self._minibatches(len(tasks), generator)[0][:, 0]
        start = [t.detach().requires_grad_() for t in self.siren.tensors]
        adapted = self.siren.with_tensors([t.expand(len(tasks), -1, -1) for t in start])
        first: list[Tensor] = []
        for columns in (c for run in runs for c in run.unbind(1)):
            losses = mean_squared_errors(adapted, *samples.minibatch(columns))
            first = first or [losses.detach()]
            gradients = torch.autograd.grad(losses.sum(), adapted.tensors, create_graph=True)
            moved = torch._foreach_sub(
                adapted.tensors, torch._foreach_mul(gradients, self.config.learning_rate)
            )
            adapted = adapted.with_tensors(moved)
        after = mean_squared_errors(adapted, *samples.minibatch(query))
        return list(torch.autograd.grad(after.sum(), start)), first[0], after.detach()

    def _pooled_round(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``inner_steps`` minibatches over the samples of all tasks together."""
        config, samples = self.config, self.pooled.samples.values.shape[1]
        shape = (1, config.inner_steps, min(config.batch_size, samples))
        index = torch.randint(samples, shape, generator=generator).to(torch.int32)
        rates = []
        for step in range(config.inner_steps):
            done = self.fraction + step / (config.inner_steps * config.outer_steps)
            rates.append(config.learning_rate * cosine(done, config.inner_floor))
        losses = self.pooled.run(index.to(self.device), rates)
        return losses[0, 0], losses[-1, 0]


def check_prior(prior: Prior, series: Series, siren: SirenConfig | None) -> None:
    """Raises PriorError when a prior does not fit a series or an explicitly asked network."""
    where = f"the prior was learned from array {prior.array!r}"
    if prior.array != series.array or prior.components != series.components:
        raise PriorError(
            f"{where} ({prior.components} components); {series.name} has {series.array!r}"
            f" ({series.components}): pretrain on this series"
        )
    if siren is not None and siren != prior.siren_config:
        raise PriorError(
            f"the prior's network has {_differences(prior.siren_config, siren)};"
            " leave the network to the prior, or pretrain with this one"
        )


def _differences(found: SirenConfig, asked: SirenConfig) -> str:
    wanted = asked.to_json()
    return ", ".join(
        f"{name} {value:g}, not {wanted[name]:g}"
        for name, value in found.to_json().items()
        if value != wanted[name]
    )
