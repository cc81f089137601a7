"""Fitting networks to single time steps, or several together, and recording the result."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .archive import Archive
from .config import KEY_EPOCHS, EncodeConfig
from .device import find_dtype
from .errors import MetaINRError, SettingsError
from .fitting import Fitting, RoundingPlan
from .hashing import fingerprint
from .layout import STEP_BYTES
from .members import Member, is_ensemble, member_of, place_in_chain
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
# Of the index, besides its rows for the steps; of a step's description for every further component.
_INDEX_BYTES, _COMPONENT_BYTES = 1500, 120
# With a target ratio and init = previous: bytes of a key frame over those of another step.
_KEY_BYTES = 2
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

    def __post_init__(self) -> None:
        self.dtype = find_dtype(self.config.precision, self.device)
        self.layout = self.archive.layout
        self.members = self.series.members

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
            siren = _constant(starts[step], step_range, value_range)
            self._write(step, siren, volumes[step], 0.0, 0, None)
        shown = ", ".join(f"{self.archive.record(s).psnr_series:.1f}" for s in steps)
        self.progress(1.0, f"PSNR {shown} dB")

    def _fit_varying(
        self, varying: list[int], starts: dict[int, Siren], volumes: dict[int, np.ndarray]
    ) -> None:
        siren = Siren.concatenate([starts[s] for s in varying]).to(self.device)
        parts = [self._normalised_bricks(volumes[s]) for s in varying]
        values = parts[0] if len(parts) == 1 else torch.cat(parts)
        del parts
        started = time.perf_counter()
        bricks = self.layout.bricks
        shape = self.layout.brick_shape
        config = self.fit_config(varying[0])
        fitting = Fitting(config, shape, bricks, self.dtype, self._mse_wanted())
        plan = self._rounding_plan(varying, starts) if config.weights == "coded" else None
        siren, passes, codes = fitting.fit(siren, values, self.progress, plan)
        siren = siren.to(torch.device("cpu"))  # waits for a GPU
        seconds = (time.perf_counter() - started) / len(varying)
        del values
        for i, step in enumerate(varying):
            own = slice(i * bricks, (i + 1) * bricks)
            networks = siren.map(lambda t: t[own].clone())  # noqa: B023
            steps = None if codes is None else codes[own].cpu()
            self._write(step, networks, volumes[step], seconds, passes[i], steps)

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
        reference, budget = self._reference(steps[0]), self._budget(steps[0])
        if reference == "none":
            siren = siren.map(torch.zeros_like)
        # With a bound the record's error is not that of the networks.
        if reference != "previous" or self.config.target_ratio or self.config.max_error:
            return RoundingPlan(siren, share, budget=budget)
        # As good as the step before will do: the series changes slowly.
        _, half = self.archive.header.value_range.scale()
        before = [self.archive.record(s - 1).mean_squared_error for s in steps]
        expected = torch.tensor(before, device=self.device) / float(half.max()) ** 2
        return RoundingPlan(siren, share, expected)

    def _budget(self, step: int) -> float:
        """Bytes that a step's coded weights may take, so that the archive reaches its ratio."""
        if not self.config.target_ratio:
            return math.inf
        archive = self.archive
        volume = 4 * archive.grid.voxels * archive.components
        shared = _INDEX_BYTES + archive.prior_bytes
        more = _COMPONENT_BYTES * (archive.components - 1)
        if is_ensemble(self.members):
            # The index names all members, a step's file its own.
            shared += sum(map(_described_bytes, self.members))
            more += _described_bytes(member_of(self.members, step))
        described = STEP_BYTES + more + shared / len(self.steps)
        budget = volume / self.config.target_ratio - described
        if budget <= 0:
            raise SettingsError(
                f"target_ratio {self.config.target_ratio:g} leaves no bytes for weights: the"
                f" descriptions alone give a ratio of {volume / described:.0f}; ask for less"
            )
        if self.config.init == "previous":
            # All steps up to the next key frame build on this one.
            place, end = self.place(step), member_of(self.members, step).steps.stop
            chain = range(step - place, min(step - place + self.config.key_interval, end))
            count = len(self.steps & set(chain))
            budget *= (1 if place else _KEY_BYTES) * count / (count - 1 + _KEY_BYTES)
        return budget

    def _write(
        self,
        step: int,
        siren: Siren,
        volume: np.ndarray,
        seconds: float,
        epochs: int,
        codes: Tensor | None,
    ) -> None:
        weights = self.config.weights
        siren = as_stored(siren, weights)
        measured = StepErrors(self.archive, self.device, self.dtype)
        bound, precision, residual = self.config.max_error, "fp32", None
        if bound:
            try:
                errors, residual = measured.bounded(siren, volume, bound)
            except SettingsError as error:
                raise SettingsError(f"{self.series.where(step)}: max_error: {error}") from error
        else:
            precision, errors = measured.measure(siren, volume)
        if not math.isfinite(errors.mean_squared):
            raise SettingsError(
                f"{self.series.where(step)}: the fit diverged; lower learning_rate"
                f" ({self.fit_config(step).learning_rate:g})"
            )
        step_range = self.scans[step].range
        self.archive.write_step(
            StepRecord(
                step=step,
                time=self.series.times[step],
                psnr=psnr(errors.mean_squared, step_range.width),
                psnr_series=psnr(errors.mean_squared, self.series_range.width),
                max_error=errors.largest,
                seconds=seconds,
                epochs=epochs,
                mean_squared_error=errors.mean_squared,
                value_low=step_range.low,
                value_high=step_range.high,
                data=self.scans[step].digest,
                settings=self.settings_digest(step),
                precision=precision,
                weights="float32" if weights == "coded" and codes is None else weights,
                reference="none" if codes is None else self._reference(step),
                bound=bound,
            ),
            siren,
            codes,
            residual,
        )
        self.last[step] = siren

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


def _described_bytes(member: Member) -> int:
    """Of its description in the index, and about as many packed into a step's file."""
    return len(json.dumps(member.to_json()))


def _constant(siren: Siren, step_range: Range, value_range: Range) -> Siren:
    """Networks that give the same value everywhere, to rounding."""
    centre, half = value_range.scale()
    level = torch.as_tensor((np.array(step_range.low, np.float32) - centre) / half)
    *others, weight, bias = siren.tensors
    return siren.with_tensors([*others, torch.zeros_like(weight), level.expand_as(bias).clone()])
