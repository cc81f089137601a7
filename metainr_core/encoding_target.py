"""The archive that an encode writes into: opened or made anew, and shared with others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .archive import Archive
from .errors import ArchiveError, MetaINRError
from .locking import WriteLock
from .members import Member, described, member_of
from .prior import Prior
from .records import Header, step_names
from .series import StepScan


class Target:
    """The archive at a path, for steps of one series. To be made while ``lock`` is set up.

    A new archive, or a prior instead of another, is written when there is a step to write: an
    encode that fails before that leaves everything as it was. Raises ArchiveError when an archive
    was made from other data or for other networks, unless it is to be overwritten.
    """

    def __init__(
        self,
        path: Path,
        lock: WriteLock,
        header: Header,
        info: dict[str, Any],
        scans: Sequence[StepScan],
        members: Sequence[Member],
        overwrite: bool,
    ):
        self._lock, self._scans, self._members = lock, scans, members
        self._is_new, self._replaces = not Archive.exists(path), False
        self._given: Prior | None = None
        if not self._is_new:
            try:
                old = Archive.open(path)
                self._check(old, header)
                self.archive = Archive(path, header, {r.step: r for r in old.records}, info)
            except ArchiveError:
                # Only then: the same settings again, as in a saved session, must not fit again.
                if not overwrite:
                    raise
                lock.alone()
                self._is_new = self._replaces = True
        if self._is_new:
            self.archive = Archive.planned(path, header, info)
        self.archive.before_first_step(self._begin)

    def restore_prior(self, prior: Prior | None) -> None:
        """Steps may be there that need it, and it may be lost."""
        if prior is not None and not self._is_new and not _stored_prior(self.archive):
            self.archive.store_prior(prior)

    def use_prior(self, prior: Prior | None, todo: Sequence[int]) -> None:
        """The prior that the steps ``todo`` may be differences to, if any.

        Raises ArchiveError when steps that stay as they are would lose what they refer to.
        """
        stored = "" if self._is_new else _stored_prior(self.archive)
        changes = prior is not None and stored != prior.digest
        _check_kept(self.archive, todo, changes)
        if prior is not None and changes:
            if stored:
                self._lock.alone()
                self._replaces = True
            self._given = prior
            self.archive.give_prior(prior)

    def finish(self) -> None:
        """Writes the index, with the steps that others have added meanwhile."""
        with self._lock.setting_up():
            if not self._is_new:
                self.archive.gather()
                self.archive.write_index()

    def _begin(self) -> None:
        archive = self.archive
        with self._lock.setting_up():
            if self._replaces:
                self._lock.alone()
            if self._is_new and not self._replaces and Archive.exists(archive.path):
                self._join(Archive.open(archive.path))
            elif self._is_new:
                archive.begin()
            archive.write_prior()
            self._is_new = False

    def _join(self, other: Archive) -> None:
        """Another process has made the archive meanwhile, for other steps of this series."""
        self._check(other, self.archive.header)
        if self._given is not None and _stored_prior(other) not in ("", self._given.digest):
            raise ArchiveError(
                f"{other.path} was begun with another prior by another process meanwhile; choose"
                " another file"
            )

    def _check(self, old: Archive, header: Header) -> None:
        """Raises ArchiveError when an archive was made from other data or for other networks."""
        cure = "choose another file, or overwrite this one on purpose (--overwrite)"
        if (old.array, old.components, old.grid) != (header.array, header.components, header.grid):
            raise ArchiveError(
                f"{old.path} holds another series: array {old.array!r} on {old.grid.dims},"
                f" not {header.array!r} on {header.grid.dims}; {cure}"
            )
        for record in old.records:
            if record.step >= len(self._scans) or record.data != self._scans[record.step].digest:
                raise ArchiveError(
                    f"{old.path} holds another series: its step {record.step} was encoded from"
                    f" other values or another time; {cure}"
                )
            # A step's file says whose it is, so that a lost index can be had from the files.
            known, own = member_of(old.members, record.step), member_of(self._members, record.step)
            if dataclasses.replace(known, count=own.count) != own:
                raise ArchiveError(
                    f"{old.path} holds another series: its step {record.step} is of"
                    f" {described(known)}, not of {described(own)}; {cure}"
                )
        if old.header != header:
            mine, wanted = _network(old.header), _network(header)
            raise ArchiveError(f"{old.path} holds networks of {mine}, not of {wanted}; {cure}")


def _stored_prior(archive: Archive) -> str:
    """Digest of the prior in an archive; empty if there is none that can be read."""
    try:
        return Prior.load(archive.prior_path).digest
    except MetaINRError:
        return ""


def _check_kept(archive: Archive, todo: Sequence[int], changes: bool) -> None:
    """Raises ArchiveError when steps that stay as they are would lose what they refer to.

    ``changes``: the prior does.
    """
    lost: list[int] = []
    what = ""
    for step in archive.steps:
        reference = archive.record(step).reference
        gone = step - 1 in [*todo, *lost] if reference == "previous" else changes
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
