"""Fitting networks to the time steps of a series."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .archive import Archive, Header, StepRecord
from .config import EncodeConfig
from .decode import decode_grid
from .device import find_device, find_dtype
from .errors import ArchiveError, PriorError, SeriesError, SettingsError
from .hashing import fingerprint
from .layout import BrickLayout, choose_siren
from .metrics import Errors, psnr
from .optim import cosine
from .pretraining import check_prior
from .prior import Prior
from .sampling import coordinates
from .series import Progress, Range, Series, StepScan, no_progress
from .siren import Siren, forward, initialize
from .training import Trainer, random_generator

# Voxels, over all bricks, whose error decides whether target_psnr is reached.
_CHECK_VOXELS = 1 << 16
_SCAN_SHARE = 0.05  # of the progress bar, for the first reading of the series
_REPORT_EVERY = 32  # minibatches


def encode(
    series: Series,
    archive_path: str | Path,
    *,
    prior: Prior | None = None,
    config: EncodeConfig | None = None,
    steps: Iterable[int] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Archive:
    """Fits networks to the steps of ``series`` and stores each in the archive as it is done.

    ``steps``: which ones (None: all). Steps that the archive already holds from the same data,
    prior and settings are kept as they are; with other settings they are fitted again. An archive
    made from other data is refused unless ``overwrite``. When ``progress`` raises ``Cancelled``
    the finished steps stay and the exception goes on. Raises MetaINRError on bad input.
    """
    config = config or EncodeConfig()
    device = find_device(config.device)
    _check_init(config, prior)
    chosen = _chosen_steps(series, steps)
    siren = config.siren
    if prior is not None:
        check_prior(prior, series, siren)
        siren = prior.siren_config
    siren = siren or choose_siren(series.grid, series.components)
    config = config.resolved(BrickLayout.of(series.grid.dims, siren.brick_size).bricks)
    scans = series.scan(lambda f, m: progress(_SCAN_SHARE * f, m))
    series_range = Range.union(s.range for s in scans)
    header = Header(
        array=series.array,
        components=series.components,
        grid=series.grid,
        siren=siren,
        value_range=prior.value_range if prior else series_range,
    )
    info = {
        "series": series.name,
        "series_range": {"low": series_range.low, "high": series_range.high},
        "encode": config.to_json(),
        "prior": None
        if prior is None
        else {"kind": prior.kind, "digest": prior.digest, "voxel_share": prior.voxel_share},
    }
    archive = _open_or_create(Path(archive_path), header, info, scans, overwrite)
    if prior is not None:
        prior.save(archive.folder / "prior.safetensors")
    fitter = _Fitter(series, archive, prior, config, device, scans, series_range)
    try:
        for count, step in enumerate(chosen):
            fitter.progress = _step_progress(progress, count, len(chosen), step)
            fitter.progress(0.0, "starting")
            if not fitter.is_done(step):
                fitter.fit(step)
    finally:
        archive.write_index()
    progress(1.0, f"encoded {len(chosen)} steps")
    return archive


def _step_progress(progress: Progress, count: int, total: int, step: int) -> Progress:
    def report(fraction: float, message: str) -> None:
        overall = _SCAN_SHARE + (1 - _SCAN_SHARE) * (count + fraction) / total
        progress(overall, f"step {step} ({count + 1}/{total}): {message}")

    return report


def _check_init(config: EncodeConfig, prior: Prior | None) -> None:
    if prior is None and config.init in ("meta", "pretrained"):
        raise PriorError(
            f"init is {config.init!r}, which needs a prior; give one, or set init to random"
        )
    if prior is not None and config.init in ("meta", "pretrained") and prior.kind != config.init:
        raise PriorError(
            f"init is {config.init!r}, but the prior is of kind {prior.kind!r}; set init to"
            f" {prior.kind}, or give a prior of kind {config.init}"
        )
    if prior is not None and config.init == "random":
        raise SettingsError("init is random, but a prior is given; leave one of them out")


def _chosen_steps(series: Series, steps: Iterable[int] | None) -> list[int]:
    chosen = sorted(map(operator.index, range(len(series)) if steps is None else set(steps)))
    wrong = [s for s in chosen if not 0 <= s < len(series)]
    if wrong:
        raise SeriesError(
            f"step {wrong[0]} was asked for; {series.name} has steps 0 to {len(series) - 1}"
        )
    return chosen


def _open_or_create(
    path: Path, header: Header, info: dict, scans: Sequence[StepScan], overwrite: bool
) -> Archive:
    """The archive at ``path`` if it goes on from there, else a new one."""
    if not Archive.exists(path):
        return Archive.create(path, header, info)
    try:
        old = Archive.open(path)
        _check_series(old, header, scans)
    except ArchiveError:
        # Only then: the same settings again, as in a saved session, must not fit again.
        if not overwrite:
            raise
        return Archive.create(path, header, info)
    if old.header != header:
        # Same data, another network or value range: nothing of the old steps can be kept.
        return Archive.create(path, header, info)
    return Archive(path, header, {r.step: r for r in old.records}, info)


def _check_series(old: Archive, header: Header, scans: Sequence[StepScan]) -> None:
    """Raises ArchiveError when an archive was made from other data."""
    cure = "choose another file, or overwrite this one on purpose (--overwrite)"
    if (old.array, old.components, old.grid) != (header.array, header.components, header.grid):
        raise ArchiveError(
            f"{old.path} holds another series: array {old.array!r} on {old.grid.dims},"
            f" not {header.array!r} on {header.grid.dims}; {cure}"
        )
    for record in old.records:
        if record.step >= len(scans) or record.data != scans[record.step].digest:
            raise ArchiveError(
                f"{old.path} holds another series: its step {record.step} was encoded from other"
                f" values or another time; {cure}"
            )


@dataclass
class _Fitter:
    """Fits one step after the other into an archive."""

    series: Series
    archive: Archive
    prior: Prior | None
    config: EncodeConfig
    device: torch.device
    scans: Sequence[StepScan]
    series_range: Range
    progress: Progress = no_progress

    def __post_init__(self) -> None:
        self.dtype = find_dtype(self.config.precision, self.device)
        self.layout = self.archive.layout
        self.previous: tuple[int, Siren] | None = None

    def settings_digest(self, step: int) -> str:
        """Fingerprint of all that the step's weights depend on, except the device."""
        settings = self.config.to_json()
        settings.update(siren=None, device=None)
        prior = self.prior.digest if self.prior else None
        chain = []
        if self.config.init == "previous":
            first = step - step % self.config.key_interval
            chain = [s.digest for s in self.scans[first:step]]
        return fingerprint(self.archive.header.to_json(), settings, prior, chain)

    def is_done(self, step: int) -> bool:
        if step not in self.archive.steps:
            return False
        record = self.archive.record(step)
        same_data = record.data == self.scans[step].digest
        return same_data and record.settings == self.settings_digest(step)

    def fit(self, step: int) -> StepRecord:
        volume = self.series.read(step)
        siren = self._start(step).to(self.device)
        step_range = self.scans[step].range
        seconds, epochs = 0.0, 0
        if step_range.width == 0:
            siren = _constant(siren, step_range, self.archive.header.value_range)
        else:
            values = self._normalised_bricks(volume)
            started = time.perf_counter()
            siren, epochs = self._descend(siren, values, step)
            seconds = time.perf_counter() - started
            del values
        siren = siren.to(torch.device("cpu"))
        errors = self._errors(siren, volume)
        if not math.isfinite(errors.mean_squared):
            raise SettingsError(
                f"{self.series.where(step)}: the fit diverged; lower learning_rate"
                f" ({self.config.learning_rate:g})"
            )
        record = self.archive.write_step(
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
            ),
            siren,
        )
        self.previous = (step, siren)
        self.progress(1.0, f"PSNR {record.psnr_series:.1f} dB")
        return record

    def _start(self, step: int) -> Siren:
        """The weights that the fit starts from: ``(bricks, …)`` tensors of their own."""
        bricks = self.layout.bricks
        if self.config.init == "previous" and step % self.config.key_interval:
            return self._neighbour(step - 1)
        if self.prior is not None:
            return self.prior.siren.repeat(bricks)
        header = self.archive.header
        generator = random_generator(self.config.seed, step)
        return initialize(header.siren, bricks, header.components, generator)

    def _neighbour(self, step: int) -> Siren:
        if self.previous is not None and self.previous[0] == step:
            return self.previous[1].clone()
        if step in self.archive.steps and self.is_done(step):
            return self.archive.load_step(step)
        raise SettingsError(
            f"init is previous, so step {step + 1} starts from step {step}, which is not encoded"
            f" with these settings; encode the steps from the key frame"
            f" {step - step % self.config.key_interval} on"
        )

    def _normalised_bricks(self, volume: np.ndarray) -> Tensor:
        centre, half = self.archive.header.value_range.scale()
        return torch.from_numpy((self.layout.split(volume) - centre) / half).to(self.device)

    def _descend(self, siren: Siren, values: Tensor, step: int) -> tuple[Siren, int]:
        """The fitted networks and the passes spent. ``values``: ``(bricks, voxels, C)``."""
        config = self.config
        generator = random_generator(config.seed, step, 1)
        count = max(_CHECK_VOXELS // len(values), 64)
        check = torch.randint(values.shape[1], (count,), generator=generator)
        spent = 0
        for epochs in _rounds(config):
            siren = self._round(siren, values, epochs, generator, spent)
            spent += epochs
            if config.target_psnr:
                reached = self._estimated_psnr(siren, values, check.to(self.device))
                if reached >= config.target_psnr:
                    break
        return siren, spent

    def _round(
        self, siren: Siren, values: Tensor, epochs: int, generator: torch.Generator, spent: int
    ) -> Siren:
        """``epochs`` passes, with one decay of the learning rate over them."""
        config, voxels = self.config, values.shape[1]
        trainer = Trainer(siren, config.optimizer, self.dtype)
        batches = -(-voxels // config.batch_size)
        total, done = epochs * batches, 0
        for epoch in range(epochs):
            order = torch.randperm(voxels, generator=generator).to(self.device)
            for index in order.tensor_split(batches):
                if done % _REPORT_EVERY == 0:
                    fraction = (spent + done / batches) / config.epochs
                    self.progress(fraction, f"pass {spent + epoch + 1} of {config.epochs}")
                decay = cosine(done / total) if config.schedule == "cosine" else 1.0
                where = coordinates(index, self.layout.brick_shape)[None]
                trainer.step(where, values[:, index], config.learning_rate * decay)
                done += 1
        return siren

    def _estimated_psnr(self, siren: Siren, values: Tensor, index: Tensor) -> float:
        """Series-range PSNR in dB from a sample of voxels, without decoding the volume."""
        where = coordinates(index, self.layout.brick_shape)[None]
        _, half = self.archive.header.value_range.scale()
        with torch.no_grad():
            error = (forward(siren, where) - values[:, index]) * torch.as_tensor(half).to(values)
        return psnr(float(error.square().mean()), self.series_range.width)

    def _errors(self, siren: Siren, volume: np.ndarray) -> Errors:
        """Of what decode will return on the device it takes by default."""
        positions = self.archive.grid.index_coordinates(self.archive.grid)
        centre, half = self.archive.header.value_range.scale()
        decoded = decode_grid(siren.to(self.device), self.layout, positions, centre, half)
        return Errors.between(volume, decoded)


def _rounds(config: EncodeConfig) -> Iterator[int]:
    """Passes per round: all at once, or 1, 1, 2, 4 … while a target PSNR may be reached early."""
    if not config.target_psnr:
        yield config.epochs
        return
    spent, size = 0, 1
    while spent < config.epochs:
        size = min(max(spent, 1), config.epochs - spent)
        yield size
        spent += size


def _constant(siren: Siren, step_range: Range, value_range: Range) -> Siren:
    """Networks that give the same value everywhere, to rounding."""
    centre, half = value_range.scale()
    level = torch.as_tensor((np.array(step_range.low, np.float32) - centre) / half)
    *others, weight, bias = siren.tensors
    return siren.with_tensors([*others, torch.zeros_like(weight), level.expand_as(bias).clone()])
