"""Fitting networks to single time steps, or several together, and recording the result."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .archive import Archive
from .budget import budget
from .config import KEY_EPOCHS, EncodeConfig
from .device import find_dtype
from .divergence import (
    SHARES,
    Fit,
    Outcome,
    came_to_nothing,
    constant_error,
    described,
    has_diverged,
)
from .errors import MetaINRError, SettingsError
from .fitting import Fitting, RoundingPlan
from .hashing import fingerprint
from .members import place_in_chain
from .metrics import psnr
from .prior import Prior
from .records import StepRecord
from .series import Progress, Range, Series, StepScan, no_progress
from .siren import Siren, initialize
from .step_errors import StepErrors
from .training import random_generator
from .weights import as_stored

# Of one layer in one minibatch, that keep a large GPU busy.
_GPU_ACTIVATIONS = 1 << 22
# Float32 volumes that are fitted together.
_GROUP_BYTES = 1 << 26


@dataclass
class StepEncoder:
    """Fits networks to steps and writes them into an archive."""

    series: Series
    archive: Archive
    prior: Prior | None
    config: EncodeConfig
    device: torch.device
    scans: Sequence[StepScan]
    series_range: Range
    # All that will be in the archive.
    steps: Set[int]
    progress: Progress = no_progress
    # The networks of the steps fitted last.
    last: dict[int, Siren] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self.dtype = find_dtype(self.config.precision, self.device)
        self.layout = self.archive.layout
        self.members = self.series.members
        self._errors = StepErrors(self.archive, self.device, self.dtype)
        # Of the fits of a step that is not written yet.
        self._seconds: dict[int, float] = {}

    def place(self, step: int) -> int:
        """How many steps it comes after its key frame, which starts from the prior."""
        interval = self.config.key_interval if self.config.init == "previous" else 1
        return place_in_chain(self.members, step, interval)

    def fit_config(self, step: int) -> EncodeConfig:
        """The settings that a step is fitted with, everything chosen."""
        config, width = self.config, self.archive.header.siren.width
        if config.init == "previous":
            key = self.place(step) == 0
            chosen = config.resolved(self.layout.bricks, width, warm=not key)
            return dataclasses.replace(chosen, epochs=config.epochs * (KEY_EPOCHS if key else 1))
        return config.resolved(self.layout.bricks, width)

    def steps_at_once(self) -> int:
        """As many as give every core a network, or a GPU enough to do, without much memory."""
        grid, header = self.archive.grid, self.archive.header
        if self.device.type == "cuda":
            points = _GPU_ACTIVATIONS // header.siren.width
            wanted = points // (self.fit_config(0).batch_size * self.layout.bricks)
        else:
            wanted = -(-torch.get_num_threads() // self.layout.bricks)
        return max(min(wanted, _GROUP_BYTES // (4 * grid.voxels * header.components)), 1)

    def settings_digest(self, step: int) -> str:
        """Fingerprint of all that the step's weights depend on, except the device."""
        settings = self.fit_config(step).to_json()
        settings.update(siren=None, device=None)
        prior = self.prior.digest if self.prior else None
        chain = []
        if self.config.init == "previous":
            chain = [s.digest for s in self.scans[step - self.place(step) : step]]
        return fingerprint(self.archive.header.to_json(), settings, prior, chain)

    def is_done(self, step: int) -> bool:
        if step not in self.archive.steps:
            return False
        record = self.archive.record(step)
        return (
            record.data == self.scans[step].digest
            and record.settings == self.settings_digest(step)
            and self._is_readable(record)
        )

    def _is_readable(self, record: StepRecord) -> bool:
        if record.reference == "none":
            return self.archive.is_intact(record.step)
        try:
            self.archive.load_step(record.step)
        except MetaINRError:
            return False
        return True

    def is_outdated(self, step: int) -> bool:
        """Whether the archive holds the step as other settings or another prior made it."""
        held = step in self.archive.steps
        return held and self.archive.record(step).settings != self.settings_digest(step)

    def fit(self, steps: Sequence[int]) -> None:
        """Fits steps together and writes each."""
        volumes = {step: self.series.read(step) for step in steps}
        starts = {step: self._start(step) for step in steps}
        self.last = {}
        varying = [s for s in steps if self.scans[s].range.width > 0]
        if varying:
            self._fit_varying(varying, starts, volumes)
        for step in sorted(set(steps).difference(varying)):
            step_range, value_range = self.scans[step].range, self.archive.header.value_range
            weights = self.config.weights
            siren = as_stored(_constant(starts[step], step_range, value_range), weights)
            fit = Fit(siren, None, *self._errors.measure(siren, volumes[step]), 0, 0.0)
            self._write(step, fit, volumes[step])
        shown = ", ".join(f"{self.archive.record(s).psnr_series:.1f}" for s in steps)
        self.progress(1.0, f"PSNR {shown} dB")

    def _fit_varying(
        self, steps: list[int], starts: dict[int, Siren], volumes: dict[int, np.ndarray]
    ) -> None:
        """Fits and writes; what comes to nothing again, at lower rates, of which the best counts.

        Raises SettingsError where that has diverged, too.
        """
        best: dict[int, Fit] = {}
        constants = {step: constant_error(volumes[step]) for step in steps}
        left, rates = steps, []
        for share in SHARES:
            failed = []
            for step, fit in self._fits(left, starts, volumes, share):
                best[step] = min(best.get(step, fit), fit, key=lambda f: f.error)
                if came_to_nothing(fit.error, constants[step]):
                    failed.append(step)
                else:
                    self._keep(step, best.pop(step), volumes[step], constants[step])
                rates.append(fit.rate)
            left = failed
            if not left:
                return
        for step in left:
            fit, volume, constant = best[step], volumes[step], constants[step]
            _, before = self._errors.measure(starts[step], volume)
            if has_diverged(fit.error, constant, before.mean_squared):
                width = self.scans[step].range.width
                what = described(fit, constant, width, list(dict.fromkeys(rates)))
                raise SettingsError(f"{self.series.where(step)}: {what}")
            self._keep(step, fit, volume, constant)

    def _keep(self, step: int, fit: Fit, volume: np.ndarray, constant: float) -> None:
        """``_write``, and what is to be told of it."""
        self._write(step, fit, volume)
        if not came_to_nothing(fit.error, constant):
            if fit.rate < self.fit_config(step).learning_rate:
                self.outcome.lowered[step] = fit.rate
        elif not self.config.max_error:  # there the residual makes up for it
            self.outcome.poor.append(step)

    def _fits(
        self,
        steps: list[int],
        starts: dict[int, Siren],
        volumes: dict[int, np.ndarray],
        share: float,
    ) -> Iterator[tuple[int, Fit]]:
        """``share``: of the learning rate."""
        siren = Siren.concatenate([starts[s] for s in steps]).to(self.device)
        parts = [self._normalised_bricks(volumes[s]) for s in steps]
        values = parts[0] if len(parts) == 1 else torch.cat(parts)
        del parts
        started = time.perf_counter()
        bricks, shape = self.layout.bricks, self.layout.brick_shape
        config = self.fit_config(steps[0])
        config = dataclasses.replace(config, learning_rate=share * config.learning_rate)
        fitting = Fitting(config, shape, bricks, self.dtype, self._mse_wanted())
        plan = self._rounding_plan(steps, starts) if config.weights == "coded" else None
        siren, passes, codes = fitting.fit(siren, values, self.progress, plan)
        siren = siren.to(torch.device("cpu"))  # waits for a GPU
        seconds = (time.perf_counter() - started) / len(steps)
        del values
        for i, step in enumerate(steps):
            own = slice(i * bricks, (i + 1) * bricks)
            networks = siren.map(lambda t: t[own].clone())  # noqa: B023
            networks = as_stored(networks, config.weights)
            measured = self._errors.measure(networks, volumes[step])
            self._seconds[step] = self._seconds.get(step, 0.0) + seconds
            own_codes = None if codes is None else codes[own].cpu()
            yield step, Fit(networks, own_codes, *measured, passes[i], config.learning_rate)

    def _reference(self, step: int) -> str:
        """What the step's coded weights are differences to (``StepRecord.reference``)."""
        if self.config.weights != "coded":
            return "none"
        if self.config.init == "previous":
            if self.place(step):
                return "previous"
            # Few key frames: the prior would take more bytes than it saves.
            return "none" if self.config.adapt == "all" else "prior"
        return "none" if self.prior is None else "prior"

    def _rounding_plan(self, steps: list[int], starts: dict[int, Siren]) -> RoundingPlan:
        """All of ``steps`` have one reference: a wave of ``encoding``."""
        siren = Siren.concatenate([starts[s] for s in steps]).to(self.device)
        share = 10 ** (self.config.coding_loss / 10) - 1
        reference, most = self._reference(steps[0]), self._budget(steps[0])
        if reference == "none":
            siren = siren.map(torch.zeros_like)
        # With a bound the record's error is not that of the networks.
        if reference != "previous" or self.config.target_ratio or self.config.max_error:
            return RoundingPlan(siren, share, budget=most)
        # As good as the step before will do: the series changes slowly.
        _, half = self.archive.header.value_range.scale()
        before = [self.archive.record(s - 1).mean_squared_error for s in steps]
        expected = torch.tensor(before, device=self.device) / float(half.max()) ** 2
        return RoundingPlan(siren, share, expected)

    def _budget(self, step: int) -> float:
        """Bytes that a step's coded weights may take."""
        return budget(self.archive, self.config, self.members, self.steps, step, self.place(step))

    def _write(self, step: int, fit: Fit, volume: np.ndarray) -> None:
        weights, errors, bound = self.config.weights, fit.errors, self.config.max_error
        precision, residual = fit.precision, None
        if bound:
            precision = "fp32"
            try:
                errors, residual = self._errors.bounded(fit.siren, volume, bound)
            except SettingsError as error:
                raise SettingsError(f"{self.series.where(step)}: max_error: {error}") from error
        step_range = self.scans[step].range
        self.archive.write_step(
            StepRecord(
                step=step,
                time=self.series.times[step],
                psnr=psnr(errors.mean_squared, step_range.width),
                psnr_series=psnr(errors.mean_squared, self.series_range.width),
                max_error=errors.largest,
                seconds=self._seconds.pop(step, 0.0),
                epochs=fit.epochs,
                mean_squared_error=errors.mean_squared,
                value_low=step_range.low,
                value_high=step_range.high,
                data=self.scans[step].digest,
                settings=self.settings_digest(step),
                precision=precision,
                weights="float32" if weights == "coded" and fit.codes is None else weights,
                reference="none" if fit.codes is None else self._reference(step),
                bound=bound,
            ),
            fit.siren,
            fit.codes,
            residual,
        )
        self.last[step] = fit.siren

    def _start(self, step: int) -> Siren:
        """The weights that the fit starts from: ``(bricks, …)`` tensors of their own."""
        bricks = self.layout.bricks
        if self.place(step):
            return self._neighbour(step - 1)
        if self.prior is not None:
            return self.prior.siren.repeat(bricks)
        siren, components = self.archive.header.siren, self.archive.components
        generator = random_generator(self.config.seed, step)
        return initialize(siren, bricks, components, generator, self.layout.brick_shape)

    def _neighbour(self, step: int) -> Siren:
        if step in self.last:
            return self.last[step]
        if step in self.archive.steps and self.is_done(step):
            return self.archive.load_step(step)
        raise SettingsError(
            f"init is previous, so step {step + 1} starts from step {step}, which is not encoded"
            f" with these settings; encode the steps from the key frame"
            f" {step - self.place(step)} on"
        )

    def _mse_wanted(self) -> float:
        """Mean squared error, in units of the networks' output, at the target PSNR; or 0."""
        if not self.config.target_psnr:
            return 0.0
        _, half = self.archive.header.value_range.scale()
        rmse = self.series_range.width * 10 ** (-self.config.target_psnr / 20)
        return float((rmse / half.max()) ** 2)

    def _normalised_bricks(self, volume: np.ndarray) -> Tensor:
        centre, half = self.archive.header.value_range.scale()
        bricks = self.layout.split(volume)
        # In place where ``split`` made a copy: volumes are large.
        values = np.subtract(bricks, centre, out=bricks if self.layout.bricks > 1 else None)
        values /= half
        return torch.from_numpy(values).to(self.device)


def _constant(siren: Siren, step_range: Range, value_range: Range) -> Siren:
    """Networks that give the same value everywhere, to rounding."""
    centre, half = value_range.scale()
    level = torch.as_tensor((np.array(step_range.low, np.float32) - centre) / half)
    *others, weight, bias = siren.tensors
    return siren.with_tensors([*others, torch.zeros_like(weight), level.expand_as(bias).clone()])
