"""Fitting networks to the time steps of a series."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .archive import Archive
from .config import EncodeConfig
from .decode import decode_grid
from .device import find_device, find_dtype
from .errors import ArchiveError, PriorError, SeriesError, SettingsError
from .fitting import Fitting
from .hashing import fingerprint
from .layout import BrickLayout, choose_siren
from .metrics import Errors, psnr
from .pretraining import check_prior
from .prior import Prior
from .records import Header, StepRecord
from .series import Progress, Range, Series, StepScan, no_progress
from .siren import Siren, initialize
from .training import random_generator

_SCAN_SHARE = 0.05  # of the progress bar, for the first reading of the series


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
    made from other data, or for other networks, is refused unless ``overwrite``. When
    ``progress`` raises ``Cancelled`` the finished steps stay and the exception goes on. Raises
    MetaINRError on bad input.
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
        "series_steps": len(series),
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
    return Archive(path, header, {r.step: r for r in old.records}, info)


def _check_series(old: Archive, header: Header, scans: Sequence[StepScan]) -> None:
    """Raises ArchiveError when an archive was made from other data or for other networks."""
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
    if old.header != header:
        mine, wanted = _network(old.header), _network(header)
        raise ArchiveError(f"{old.path} holds networks of {mine}, not of {wanted}; {cure}")


def _network(header: Header) -> str:
    low, high = header.value_range.low, header.value_range.high
    settings = ", ".join(f"{k} {v:g}" for k, v in header.siren.to_json().items())
    return f"{settings} for values from {low} to {high}"


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
        return (
            record.data == self.scans[step].digest
            and record.settings == self.settings_digest(step)
            and self.archive.is_intact(step)
        )

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
            seeds = (self.config.seed, step)
            fitting = Fitting(
                self.config, self.layout.brick_shape, self.dtype, seeds, self._mse_wanted()
            )
            siren, epochs = fitting.fit(siren, values, self.progress)
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

    def _mse_wanted(self) -> float:
        """Mean squared error, in units of the networks' output, at the target PSNR; or 0."""
        if not self.config.target_psnr:
            return 0.0
        _, half = self.archive.header.value_range.scale()
        rmse = self.series_range.width * 10 ** (-self.config.target_psnr / 20)
        return float((rmse / half.max()) ** 2)

    def _normalised_bricks(self, volume: np.ndarray) -> Tensor:
        centre, half = self.archive.header.value_range.scale()
        return torch.from_numpy((self.layout.split(volume) - centre) / half).to(self.device)

    def _errors(self, siren: Siren, volume: np.ndarray) -> Errors:
        """Of what decode will return on the device it takes by default."""
        positions = self.archive.grid.index_coordinates(self.archive.grid)
        centre, half = self.archive.header.value_range.scale()
        decoded = decode_grid(siren.to(self.device), self.layout, positions, centre, half)
        return Errors.between(volume, decoded)


def _constant(siren: Siren, step_range: Range, value_range: Range) -> Siren:
    """Networks that give the same value everywhere, to rounding."""
    centre, half = value_range.scale()
    level = torch.as_tensor((np.array(step_range.low, np.float32) - centre) / half)
    *others, weight, bias = siren.tensors
    return siren.with_tensors([*others, torch.zeros_like(weight), level.expand_as(bias).clone()])
