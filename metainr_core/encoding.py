"""Fitting networks to the time steps of a series."""

from __future__ import annotations

import operator
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .archive import Archive
from .archive_index import check_folder, checked
from .config import EncodeConfig
from .device import find_device
from .encoding_target import Target
from .errors import (
    MetaINRWarning,
    PriorError,
    SeriesError,
    SettingsError,
)
from .layout import BITS, choose_siren
from .locking import archive_lock
from .members import is_ensemble
from .pretraining import check_prior
from .prior import Prior
from .prior_range import check_prior_range
from .records import Header, step_names
from .replacing import recover
from .series import Progress, Range, Series, no_progress
from .step_encoder import StepEncoder
from .time_left import time_left
from .writing import remove_leftovers, remove_leftovers_of

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
    prior and settings are kept as they are; others are fitted again, after a warning. An archive
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
    ratio, bits = config.target_ratio or None, BITS[config.weights]
    siren = siren or choose_siren(
        series.grid, series.components, target_ratio=ratio, bits_per_weight=bits
    )
    scans = series.scan(lambda f, m: progress(_SCAN_SHARE * f, m))
    series_range = Range.union(s.range for s in scans)
    if prior is not None:
        check_prior_range(prior, series, {step: scans[step].range for step in chosen})
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
    members = series.members
    if is_ensemble(members):
        info["members"] = [m.to_json() for m in members]
    path = checked(archive_path)
    check_folder(path)
    recover(path)
    lock = archive_lock(path)
    with lock.used():
        with lock.setting_up():
            remove_leftovers_of(path)
            remove_leftovers(path.with_suffix(""), "step_*.safetensors", "prior.safetensors")
            target = Target(path, lock, header, info, scans, members, overwrite)
            archive = target.archive
            if prior is not None and config.weights == "coded":
                prior = prior.rounded()
            kept = prior if _refers_to_prior(config) else None
            target.restore_prior(kept)
            held = set(chosen).union(archive.steps)
            encoder = StepEncoder(series, archive, prior, config, device, scans, series_range, held)
            todo = [step for step in chosen if not encoder.is_done(step)]
            needed = {step - 1 for step in todo if encoder.place(step)}.difference(todo)
            lock.claim(todo, needed)
            target.use_prior(kept, todo)
        _warn_of_replaced(encoder, todo)
        done = len(chosen) - len(todo)
        report = _Report(progress, len(chosen), done)
        try:
            for group in _groups(todo, encoder):
                encoder.progress = report.of(group, done)
                encoder.progress(0.0, "starting")
                encoder.fit(group)
                done += len(group)
        finally:
            target.finish()
            encoder.outcome.warn()
    progress(1.0, f"encoded {len(chosen)} steps")
    return archive


def _warn_of_replaced(encoder: StepEncoder, steps: Sequence[int]) -> None:
    replaced = [step for step in steps if encoder.is_outdated(step)]
    if replaced:
        warnings.warn(
            f"{encoder.archive.path}: replacing {step_names(replaced)}, made with other settings"
            " or prior",
            MetaINRWarning,
            stacklevel=3,
        )


def _groups(steps: Sequence[int], encoder: StepEncoder) -> Iterator[list[int]]:
    """Steps that are fitted together; every step comes after the one it starts from."""
    size = encoder.steps_at_once()
    waves: dict[int, list[int]] = {}
    for step in steps:
        waves.setdefault(encoder.place(step), []).append(step)
    for _, wave in sorted(waves.items()):
        for first in range(0, len(wave), size):
            yield wave[first : first + size]


class _Report:
    """Progress over all steps. ``found``: how many were finished at the start."""

    def __init__(self, progress: Progress, total: int, found: int):
        self._progress, self._total, self._found = progress, total, found
        self._started = time.monotonic()

    def of(self, group: Sequence[int], done: int) -> Progress:
        """The progress of fitting some steps together after ``done`` others."""

        def report(fraction: float, message: str) -> None:
            finished = done + len(group) * fraction
            left = time_left(
                time.monotonic() - self._started,
                (finished - self._found) / (self._total - self._found),
            )
            self._progress(
                _SCAN_SHARE + (1 - _SCAN_SHARE) * finished / self._total,
                f"encode {done + len(group)}/{self._total}, {step_names(group)}: "
                + ", ".join(filter(None, [message, left])),
            )

        return report


def _check_init(config: EncodeConfig, prior: Prior | None) -> None:
    if prior is None and config.init in ("meta", "pretrained"):
        raise PriorError(
            f"init is {config.init!r}, which needs a prior; give one, or set init to random"
        )
    if prior is None and config.adapt == "modulation":
        raise PriorError(
            "adapt is modulation, which needs a prior for the hidden matrices; give one, or set"
            " adapt to all"
        )
    if prior is not None and config.init in ("meta", "pretrained") and prior.kind != config.init:
        raise PriorError(
            f"init is {config.init!r}, but the prior is of kind {prior.kind!r}; set init to"
            f" {prior.kind}, or give a prior of kind {config.init}"
        )
    if prior is not None and config.init == "random":
        raise SettingsError("init is random, but a prior is given; leave one of them out")
    if prior is not None and not prior.finished:
        warnings.warn(
            f"the prior has {len(prior.history)} of {prior.config.outer_steps} rounds of its"
            " training; steps that start from it are worse until pretraining has finished it",
            MetaINRWarning,
            stacklevel=3,
        )


def _chosen_steps(series: Series, steps: Iterable[int] | None) -> list[int]:
    chosen = sorted(map(operator.index, range(len(series)) if steps is None else set(steps)))
    wrong = [s for s in chosen if not 0 <= s < len(series)]
    if wrong:
        raise SeriesError(
            f"step {wrong[0]} was asked for; {series.name} has steps 0 to {len(series) - 1}"
        )
    return chosen


def _refers_to_prior(config: EncodeConfig) -> bool:
    """Whether the archive needs the prior: not if coded key frames are stored in full."""
    return config.weights != "coded" or config.init != "previous" or config.adapt != "all"
