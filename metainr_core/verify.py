"""Whether an archive is what it says: every figure that it records, computed again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from .archive import Archive
from .archive_index import reading
from .bounded_json import parse_json
from .errors import DAMAGE, MetaINRError, SettingsError
from .hashing import fingerprint
from .metrics import Errors, psnr
from .records import Header, StepRecord, step_names
from .regular_file import open_regular
from .series import Progress, Range, Series, check_grid, no_progress
from .step_files import StepFiles, read_step
from .storage import file_checksum
from .tensor_file import TensorFile
from .weights import digest

# How far the errors of decoded values may be from those that were measured, as shares of the
# largest value: of the root mean square, and of the largest error. Other machines and libraries
# decode other last digits, and those without bf16 decode in fp32; measured: tests/RELIABILITY.md.
_SLACK = {"fp32": (2e-6, 2e-5), "bf16": (2e-4, 2e-2)}
# What a step's file can say of itself; size and hash are the index's alone, and the PSNR over the
# series' range depends on the other steps.
_OF_THE_FILE = ("bytes", "ratio", "sha256")


@dataclass(frozen=True)
class Finding:
    """What differs: ``step`` (None: of the archive), ``what``, ``recorded`` and ``found``."""

    step: int | None
    what: str
    recorded: Any
    found: Any

    def __str__(self) -> str:
        where = "archive" if self.step is None else f"step {self.step}"
        return f"{where}: {self.what}: recorded {_short(self.recorded)}, found {_short(self.found)}"


@dataclass
class StepCheck:
    """One step. ``psnr``, ``psnr_series``, ``max_error``: found, if there was a series to compare.

    ``off``: by how much of the largest value the errors (root mean square or largest) differ from
    those recorded, 0 where they are the same to the last digit.
    """

    step: int
    time: float | None
    member: str = ""
    psnr: float | None = None
    psnr_series: float | None = None
    max_error: float | None = None
    off: float | None = None
    findings: list[Finding] = field(default_factory=list)

    def compare(self, what: str, recorded: object, found: object) -> bool:
        """Notes a difference; returns whether there is none."""
        if recorded != found:
            self.findings.append(Finding(self.step, what, recorded, found))
        return recorded == found


@dataclass(frozen=True)
class Verification:
    """``archive``: what differs of the archive as a whole; ``steps``: one check for each step."""

    archive: list[Finding]
    steps: list[StepCheck]

    @property
    def findings(self) -> list[Finding]:
        return [*self.archive, *(f for step in self.steps for f in step.findings)]


def verify(
    archive: str | Path,
    series: Series | None = None,
    *,
    steps: Sequence[int] | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> Verification:
    """Computes again what an archive records of itself and, with its ``series``, of its errors.

    Of every step (or of ``steps``): the file's presence, size and sha256, the checksums inside,
    its description against the index, the weights, the decoded values; with ``series`` also the
    fingerprint of the data, their range, all errors, and that a bound is kept. A bad step does not
    stop it. Errors may differ as those of another machine's decoding do. Raises MetaINRError where
    there is no index to check, or the series has another array or grid than the archive.
    """
    check = _Verifier(Archive.open(archive), series, device, progress)
    return check.run(steps)


class _Verifier:
    def __init__(self, archive: Archive, series: Series | None, device: str, progress: Progress):
        self.archive, self.series, self.device, self.progress = archive, series, device, progress
        # As it is on disk: what the archive holds in memory is completed from the steps.
        with reading(archive.path):
            with open_regular(archive.path) as file:
                self.index = parse_json(file.read())
            self.rows: dict[int, dict[str, Any]] = {row["step"]: row for row in self.index["steps"]}
        self.found: list[Finding] = []

    def run(self, steps: Sequence[int] | None) -> Verification:
        series, archive = self.series, self.archive
        if series is not None:
            self._check_fits(series)
            series.scan(lambda f, m: self.progress(0.2 * f, m))
        files = StepFiles(archive.folder, archive.header, {}).found()
        held = sorted({*self.rows, *archive.steps, *files})
        absent = [s for s in steps or () if s not in held]
        if absent:
            raise SettingsError(
                f"{archive.path} holds no step {absent[0]}; it holds {step_names(held)}"
                if held
                else f"{archive.path} holds no steps"
            )
        self._check_index()
        checks = []
        chosen = held if steps is None else sorted(set(steps))
        for done, step in enumerate(chosen):
            share = done / len(chosen)
            self.progress(0.2 + 0.8 * share if series else share, f"verifying step {step}")
            checks.append(self._step(step))
        self.progress(1.0, f"verified {len(chosen)} steps")
        return Verification(self.found, checks)

    def _check_fits(self, series: Series) -> None:
        archive = self.archive
        ours, theirs = (archive.array, archive.components), (series.array, series.components)
        if ours != theirs:
            raise SettingsError(
                f'{archive.path} is of array "{ours[0]}" with {ours[1]} components; {series.name}'
                f' has "{theirs[0]}" with {theirs[1]}: name the series it was made from'
            )
        check_grid(series.grid, archive.grid, f"{series.name}, against {archive.path}")

    def _compare(self, what: str, recorded: object, found: object) -> None:
        if recorded != found:
            self.found.append(Finding(None, what, recorded, found))

    def _check_index(self) -> None:
        """What the index says besides its rows."""
        index, archive = self.index, self.archive
        # Formats 1 and 2 say less.
        if "identity" in index:
            self._compare("identity", index["identity"], archive.header.identity)
        if "bricks" in index:
            axes = dict(zip("xyz", (list(a.starts) for a in archive.layout.axes), strict=True))
            shape = list(archive.layout.brick_shape)
            self._compare("bricks", index["bricks"], _plain({"shape": shape, "starts": axes}))
        if self.series is not None:
            self._check_series(self.series)

    def _check_series(self, series: Series) -> None:
        info = self.archive.info
        # A series that has grown since has more steps, and perhaps a wider range.
        if info.get("series_steps") == len(series):
            found = series.value_range()
            self._compare("series_range", info["series_range"], _plain(asdict(found)))
        missing = [s for s in self.archive.steps if s >= len(series)]
        if missing:
            self._compare("steps of the series", step_names(missing), f"{len(series)} steps")

    def _step(self, step: int) -> StepCheck:
        archive, row = self.archive, self.rows.get(step)
        if row is None and step in archive.steps:
            # Written after the index, as where a process was killed.
            row = _plain(archive.record(step).to_json())
        member = next((m.name for m in archive.members if step in m.steps), "")
        check = StepCheck(step, None if row is None else float(row["time"]), member)
        try:
            if row is None:
                check.compare("file", "no such step", "a damaged or foreign one")
            else:
                self._check_file(check, row)
                self._check_values(check, StepRecord.from_json(row))
        except (MetaINRError, OSError, *DAMAGE) as error:
            check.findings.append(Finding(step, "file", "readable", str(error)))
        return check

    def _check_file(self, check: StepCheck, row: dict[str, Any]) -> None:
        """The file against the index's row, and the row's figures against each other."""
        path = self.archive.step_path(check.step)
        file = TensorFile.read(path, linked=False)
        record = StepRecord.from_json(row)
        width = self.archive.series_range.width
        error = record.mean_squared_error
        derived = {"psnr": psnr(error, record.value_range.width), "psnr_series": psnr(error, width)}
        actual = {
            "bytes": file.size,
            "sha256": hashlib.sha256(file.data).hexdigest(),
            "ratio": 4 * self.archive.grid.voxels * self.archive.components / file.size,
            **{name: _finite(value) for name, value in derived.items()},
        }
        for name, value in actual.items():
            check.compare(name, row[name], value)
        metadata = read_step(path)
        own = metadata["record"]
        for entry in fields(StepRecord):
            if entry.name in (*_OF_THE_FILE, "psnr_series"):
                continue
            check.compare(f"{entry.name} (index, file)", row.get(entry.name), own.get(entry.name))
        if Header.from_json(metadata["header"]) != self.archive.header:
            check.compare("header (index, file)", "the index's", "another one")
        if "sum" in metadata:
            check.compare("checksum of the weights", metadata["sum"], file_checksum(file))
        if error > record.max_error**2 * (1 + 1e-9):
            check.compare("mean_squared_error", error, f"max_error {record.max_error:g}")
        if record.bound and record.max_error > record.bound:
            check.compare("max_error", record.max_error, f"bound {record.bound:g}")
        siren = self.archive.load_step(check.step)
        check.compare("digest", metadata["digest"], digest(metadata, siren))

    def _check_values(self, check: StepCheck, record: StepRecord) -> None:
        decoded = self.archive.decode(check.step, device=self.device)
        if not np.isfinite(decoded).all():
            check.compare("decoded values", "finite", "NaN or infinite ones")
            return
        series = self.series
        if series is None:
            return
        if check.step >= len(series):
            check.compare("step", "in the archive", "not in the series")
            return
        original = series.read(check.step)
        scan = series.scan()[check.step]
        check.compare("time", record.time, series.times[check.step])
        # Values that have changed since they were first read are different data, too.
        found = fingerprint(series.times[check.step], original)
        check.compare("data", record.data, found)
        check.compare("value range", _shown(record.value_range), _shown(scan.range))
        self._check_errors(check, record, original, decoded)

    def _check_errors(
        self, check: StepCheck, record: StepRecord, original: np.ndarray, decoded: np.ndarray
    ) -> None:
        errors = Errors.between(original, decoded)
        own, series = Range.of(original).width, self.archive.series_range.width
        check.psnr = _finite(psnr(errors.mean_squared, own))
        check.psnr_series = _finite(psnr(errors.mean_squared, series))
        check.max_error = errors.largest
        # float32's steps grow with the values, not with their range.
        scale = float(np.abs(decoded).max()) or 1.0
        before = math.sqrt(record.mean_squared_error)
        check.off = max(
            abs(math.sqrt(errors.mean_squared) - before) / scale,
            abs(errors.largest - record.max_error) / scale,
        )
        mean, largest = (scale * share for share in _SLACK[record.precision])
        if abs(math.sqrt(errors.mean_squared) - before) > mean:
            check.compare("mean_squared_error", record.mean_squared_error, errors.mean_squared)
            check.compare("psnr", _finite(record.psnr), check.psnr)
            row = self.rows[check.step]
            check.compare("psnr_series", row["psnr_series"], check.psnr_series)
        if abs(errors.largest - record.max_error) > largest:
            check.compare("max_error", record.max_error, errors.largest)
        if record.bound and errors.largest > record.bound:
            check.compare("bound", record.bound, errors.largest)


def _finite(value: float) -> float | None:
    """As JSON has it."""
    return value if math.isfinite(value) else None


def _plain(value: object) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(value))


def _shown(value_range: Range) -> str:
    pairs = zip(value_range.low, value_range.high, strict=True)
    return ", ".join(f"{low!r} to {high!r}" for low, high in pairs)


def _short(value: object) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
