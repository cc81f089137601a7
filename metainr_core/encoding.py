"""Fitting networks to the time steps of a series."""

from __future__ import annotations

import dataclasses
import operator
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .archive import Archive
from .config import EncodeConfig
from .device import find_device
from .errors import (
    ArchiveError,
    MetaINRError,
    MetaINRWarning,
    PriorError,
    SeriesError,
    SettingsError,
)
from .layout import BITS, choose_siren
from .members import Member, described, is_ensemble, member_of
from .pretraining import check_prior
from .prior import Prior
from .records import Header, step_names
from .series import Progress, Range, Series, StepScan, no_progress
from .step_encoder import StepEncoder
from .time_left import time_left

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
    archive = _open_or_create(Path(archive_path), header, info, scans, members, overwrite)
    if prior is not None and config.weights == "coded":
        prior = prior.rounded()
    kept = prior if _refers_to_prior(config) else None
    if kept is not None and not _stored_prior(archive):
        archive.store_prior(kept)
    held = set(chosen).union(archive.steps)
    encoder = StepEncoder(series, archive, prior, config, device, scans, series_range, held)
    todo = [step for step in chosen if not encoder.is_done(step)]
    _check_kept(archive, todo, kept)
    if kept is not None and _stored_prior(archive) != kept.digest:
        archive.store_prior(kept)
    replaced = [step for step in todo if encoder.is_outdated(step)]
    if replaced:
        message = (
            f"{archive.path}: replacing {step_names(replaced)}, made with other settings or prior"
        )
        warnings.warn(message, MetaINRWarning, stacklevel=2)
    done = len(chosen) - len(todo)
    report = _Report(progress, len(chosen), done)
    try:
        for group in _groups(todo, encoder):
            encoder.progress = report.of(group, done)
            encoder.progress(0.0, "starting")
            encoder.fit(group)
            done += len(group)
    finally:
        archive.write_index()
    progress(1.0, f"encoded {len(chosen)} steps")
    return archive


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


def _open_or_create(
    path: Path,
    header: Header,
    info: dict,
    scans: Sequence[StepScan],
    members: Sequence[Member],
    overwrite: bool,
) -> Archive:
    """The archive at ``path`` if it goes on from there, else a new one."""
    if not Archive.exists(path):
        return Archive.create(path, header, info)
    try:
        old = Archive.open(path)
        _check_series(old, header, scans, members)
    except ArchiveError:
        # Only then: the same settings again, as in a saved session, must not fit again.
        if not overwrite:
            raise
        return Archive.create(path, header, info)
    return Archive(path, header, {r.step: r for r in old.records}, info)


def _check_series(
    old: Archive, header: Header, scans: Sequence[StepScan], members: Sequence[Member]
) -> None:
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
        # A step's file says whose it is, so that a lost index can be had from the files.
        known, own = member_of(old.members, record.step), member_of(members, record.step)
        if dataclasses.replace(known, count=own.count) != own:
            raise ArchiveError(
                f"{old.path} holds another series: its step {record.step} is of"
                f" {described(known)}, not of {described(own)}; {cure}"
            )
    if old.header != header:
        mine, wanted = _network(old.header), _network(header)
        raise ArchiveError(f"{old.path} holds networks of {mine}, not of {wanted}; {cure}")


def _refers_to_prior(config: EncodeConfig) -> bool:
    """Whether the archive needs the prior: not if coded key frames are stored in full."""
    return config.weights != "coded" or config.init != "previous" or config.adapt != "all"


def _stored_prior(archive: Archive) -> str:
    """Digest of the prior in an archive; empty if there is none that can be read."""
    try:
        return Prior.load(archive.prior_path).digest
    except MetaINRError:
        return ""


def _check_kept(archive: Archive, todo: Sequence[int], prior: Prior | None) -> None:
    """Raises ArchiveError when steps that stay as they are would lose what they refer to."""
    other = prior is not None and _stored_prior(archive) != prior.digest
    lost: list[int] = []
    what = ""
    for step in archive.steps:
        reference = archive.record(step).reference
        gone = step - 1 in [*todo, *lost] if reference == "previous" else other
        if step in todo or reference == "none" or not gone or not _is_readable(archive, step):
            continue
        lost.append(step)
        what = what or ("the prior" if reference == "prior" else f"step {step - 1}")
    if lost:
        raise ArchiveError(
            f"{archive.path} holds {step_names(lost)} as differences to {what}, which would be"
            " replaced; encode them too, or choose another file"
        )


def _is_readable(archive: Archive, step: int) -> bool:
    try:
        archive.load_step(step)
    except MetaINRError:
        return False
    return True


def _network(header: Header) -> str:
    low, high = header.value_range.low, header.value_range.high
    settings = ", ".join(f"{k} {v:g}" for k, v in header.siren.to_json().items())
    return f"{settings} for values from {low} to {high}"
