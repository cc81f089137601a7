"""The ``.minr`` archive: a JSON index beside a folder with one file of weights per time step.

``run.minr`` names what the steps share (series, grid, network, value range); ``run/`` holds
``step_000012.safetensors`` files and the prior. Every step file repeats the index's shared part
in its own header, so the index can be rebuilt from the steps, and a process that was killed
between writing a step and the index loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .archive_decoding import Decoder
from .archive_index import check_folder, checked, checked_info, index_bytes, read_index, reading
from .errors import DAMAGE, ArchiveError, MetaINRError
from .grid import Grid
from .members import Member, member_of, members_from_json, merged
from .prior import Prior
from .records import Header, StepRecord, float32_range, of_one_fit, over_range
from .replacing import is_halfway, recover
from .series import Progress, Range, no_progress
from .siren import Siren
from .step_files import FORMAT_VERSION as FORMAT_VERSION
from .step_files import StepFiles, read_step
from .writing import make_folder, write_atomically

# Between writes of the index while steps are added: seconds, at least, and such a share of the time
# as they take. Of thousands of steps each takes tenths of a second.
_INDEX_INTERVAL, _INDEX_SHARE = 2.0, 0.02


class Archive:
    """A ``.minr`` archive, open for decoding and for adding steps."""

    def __init__(
        self, path: Path, header: Header, records: Mapping[int, StepRecord], info: Mapping[str, Any]
    ):
        self.path = path
        self.header = header
        self._records = dict(records)
        self.info = dict(info)
        self._files = StepFiles(self.folder, header, self._records)
        self.layout = self._files.layout
        self._decoder = Decoder(header, self._files, self._records)
        self._range: Range | None = None  # every step's PSNR needs it: not to be found each time
        self._write_index_at = 0.0
        self._prepare: Callable[[], None] | None = None
        # Steps that the index names and whose files are gone.
        self.missing: list[int] = []

    @property
    def folder(self) -> Path:
        return self.path.with_suffix("")

    @property
    def prior_path(self) -> Path:
        return self._files.prior_path

    @property
    def grid(self) -> Grid:
        return self.header.grid

    @property
    def array(self) -> str:
        return self.header.array

    @property
    def components(self) -> int:
        return self.header.components

    @property
    def records(self) -> list[StepRecord]:
        """One row per encoded step, in step order."""
        width = self.series_range.width
        return [over_range(self._records[s], width) for s in self.steps]

    @property
    def steps(self) -> list[int]:
        return sorted(self._records)

    @property
    def times(self) -> list[float]:
        """Of the encoded steps: in an ensemble those of one member after the other's."""
        return [self._records[s].time for s in self.steps]

    @property
    def members(self) -> list[Member]:
        """The runs that the series' steps belong to, encoded or not: of an ensemble, several.

        Of an index that was rebuilt, only those with a step in the archive.
        """
        if "members" in self.info:
            return members_from_json(self.info["members"])
        held = max(self._records, default=-1) + 1
        return [Member("", 0, max(int(self.info.get("series_steps", 0)), held))]

    @property
    def series_range(self) -> Range:
        """Range of the series' values, as far as known: never less than the encoded steps'."""
        if self._range is None:
            known = [float32_range(self.info["series_range"], self.components)]
            self._range = Range.union(known + [r.value_range for r in self._records.values()])
        return self._range

    @property
    def total_bytes(self) -> int:
        """Of the steps, the prior and the index on disk."""
        shared = [self.path, self.prior_path]
        return sum(r.bytes for r in self._records.values()) + sum(
            p.stat().st_size for p in shared if p.exists()
        )

    @property
    def ratio(self) -> float:
        """float32 bytes of the encoded volumes over ``total_bytes``."""
        volumes = len(self._records) * self.grid.voxels * self.components
        return 4 * volumes / max(self.total_bytes, 1)

    def record(self, step: int) -> StepRecord:
        self._check(step)
        return over_range(self._records[step], self.series_range.width)

    def _check(self, step: int) -> None:
        """Raises ArchiveError where there is no such step."""
        if step not in self._records:
            raise ArchiveError(f"{self.path} holds no step {step}; it holds {_shorten(self.steps)}")

    def step_path(self, step: int) -> Path:
        return self._files.path(step)

    # Writing

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Whether there is an index, or what it can be had from."""
        path = checked(path)
        return (
            path.exists()
            or is_halfway(path)
            or any(path.with_suffix("").glob("step_*.safetensors"))
        )

    @classmethod
    def create(cls, path: str | Path, header: Header, info: Mapping[str, Any]) -> Archive:
        """A new archive without steps; replaces one that is there."""
        archive = cls.planned(path, header, info)
        archive.begin()
        return archive

    @classmethod
    def planned(cls, path: str | Path, header: Header, info: Mapping[str, Any]) -> Archive:
        """As ``create``, but all that is there stays until ``begin``."""
        archive = cls(checked(path), header, {}, info)
        archive._files.forget_prior()
        return archive

    def begin(self) -> None:
        """Writes an index without steps, then removes the steps and the prior of an old archive.

        A process that is killed meanwhile leaves some of those. They are no worse than they were,
        and do not pass for new ones, as they were made from other data.
        """
        check_folder(self.path)
        make_folder(self.folder)
        self.write_index()
        self._files.clear()

    def before_first_step(self, call: Callable[[], None]) -> None:
        """Has ``write_step`` call it once, when there is something to write."""
        self._prepare = call

    def write_step(
        self,
        record: StepRecord,
        siren: Siren,
        codes: Tensor | None = None,
        residual: bytes | None = None,
    ) -> StepRecord:
        """Writes one step's file, then the index; returns the record with the file's figures.

        ``record.weights`` says how; ``codes`` are the steps of coded weights (``Rounding``),
        ``residual`` what ``record.bound`` needs (``residual.compress``).
        """
        if self._prepare is not None:
            self._prepare()
            self._prepare = None
        self._files.write(record, siren, codes, residual, self._own_info(record.step))
        self._range = Range.union([self.series_range, record.value_range])
        if time.monotonic() > self._write_index_at:
            self.write_index()
        return self.record(record.step)

    def _own_info(self, step: int) -> dict[str, Any]:
        """What a step's file says of the series: of an ensemble's members it names its own."""
        if "members" not in self.info:
            return self.info
        return {**self.info, "members": [member_of(self.members, step).to_json()]}

    def store_prior(self, prior: Prior) -> None:
        """Keeps a prior that steps may be differences to."""
        self.give_prior(prior)
        self.write_prior()

    def give_prior(self, prior: Prior) -> None:
        """As ``store_prior``, but its file is written by ``write_prior``."""
        self._files.give_prior(prior)

    def write_prior(self) -> None:
        self._files.write_prior()

    @property
    def prior_bytes(self) -> int:
        """Of the prior's file, also before that is written; 0 without one."""
        return self._files.prior_bytes

    def write_index(self) -> None:
        """Writes ``run.minr``. Steps that other processes added meanwhile are found on opening."""
        started = time.monotonic()
        data = index_bytes(self.header, self.info, self.records)
        # A finished archive in a folder that is for reading only stays usable.
        with reading(self.path):
            same = self.path.is_file() and self.path.read_bytes() == data
        if not same:
            write_atomically(self.path, data)
        now = time.monotonic()
        self._write_index_at = now + max(_INDEX_INTERVAL, (now - started) / _INDEX_SHARE)

    # Reading

    @classmethod
    def open(cls, path: str | Path) -> Archive:
        """Opens an archive; adds finished steps that the index does not name yet.

        Raises ArchiveError when the file is none, is damaged, or is of a newer format.
        """
        path = checked(path)
        check_folder(path)
        recover(path)
        if not path.exists() and cls.exists(path):
            return cls._rebuild(path)
        with reading(path):
            header, records, info = read_index(path)
            archive = cls(path, header, records, info)
            # What is damaged shows here, not in the middle.
            archive.series_range  # noqa: B018
            members = archive.members
            for step in records:
                member_of(members, step)
        archive._adopt_steps()
        return archive

    @classmethod
    def _rebuild(cls, path: Path) -> Archive:
        """The archive of a folder of steps whose index is lost."""
        for file in sorted(path.with_suffix("").glob("step_*.safetensors")):
            try:
                metadata = read_step(file)
                header = Header.from_json(metadata["header"])
                archive = cls(path, header, {}, checked_info(metadata["info"]))
                archive.series_range  # noqa: B018
                archive._adopt_steps()
                if not archive.steps:
                    raise ArchiveError(f"{file} is damaged")
            except (MetaINRError, *DAMAGE) as error:
                problem = ArchiveError(f"{path} is lost and {file} cannot replace it: {error}")
                continue
            archive.write_index()
            return archive
        raise problem

    def _adopt_steps(self) -> None:
        """Takes in step files of this archive that the index does not describe as they are.

        That is what a process leaves that was stopped between writing a step and the index, or
        another process that works on other steps.
        """
        files = self._files.found()
        for step, path in files.items():
            self._adopt(step, path)
        self.missing = [s for s in self.steps if s not in files]
        for step in self.missing:
            del self._records[step]
        if self.missing:
            self._range = None
        if self.missing and not self.folder.is_dir():
            raise ArchiveError(f"folder {self.folder} is missing; it has to lie beside {self.path}")

    def gather(self) -> None:
        """Takes in steps that others have added since this was opened."""
        for step, path in self._files.found().items():
            if step not in self._records:
                self._adopt(step, path)

    def _adopt(self, step: int, path: Path) -> None:
        known = self._records.get(step)
        try:
            metadata = read_step(path)
            record = StepRecord.from_json(metadata["record"])
            if Header.from_json(metadata["header"]) != self.header or record.step != step:
                return
            if known is not None and of_one_fit(known, record):
                return
            members = self._members_with(checked_info(metadata["info"]), step)
            self._files.adopt(step, record, metadata)
            self._range = None
            if members:
                self.info["members"] = [m.to_json() for m in members]
        except (MetaINRError, OSError, *DAMAGE):
            # Damaged or foreign: reported when somebody asks for this very step.
            return

    def _members_with(self, info: Mapping[str, Any], step: int) -> list[Member]:
        """The members, with what a step's file knows of its own; none without an ensemble.

        Raises MetaINRError or one of DAMAGE when the file is of another ensemble.
        """
        if ("members" in self.info) != ("members" in info):
            raise ArchiveError(f"step {step} is of another series")
        if "members" not in info:
            return []
        members = merged(self.members, members_from_json(info["members"]))
        member_of(members, step)
        return members

    def is_intact(self, step: int) -> bool:
        """Whether the step's file is the one that was recorded."""
        self._check(step)
        return self._files.is_intact(step)

    def damaged(self, progress: Progress = no_progress) -> list[int]:
        """Steps whose file is there and of no use: it, or what it is a difference to, is damaged,
        changed or missing."""
        result = []
        files = self._files.found()
        for count, step in enumerate(files):
            progress(count / len(files), f"checking step {step}")
            if not self._is_usable(step):
                self._adopt(step, files[step])  # another process may have written it meanwhile
                if not self._is_usable(step):
                    result.append(step)
        return result

    def _is_usable(self, step: int) -> bool:
        try:
            usable = step in self._records and self.is_intact(step)
            if usable and self._records[step].reference != "none":
                self.load_step(step)
        except (MetaINRError, OSError):
            return False
        return usable

    def load_step(self, step: int) -> Siren:
        """The networks of one step, float32. Raises MetaINRError when a file is missing or damaged.

        A step that is stored as a difference needs the steps from the last key frame on; the
        networks loaded lately are kept (64 MB), so that going through the steps, also backwards,
        reads each file once.
        """
        self._check(step)
        return self._files.load(step)

    def decode(
        self,
        step: int,
        grid: Grid | None = None,
        *,
        device: str = "auto",
        progress: Progress = no_progress,
    ) -> np.ndarray:
        """Values of one step on ``grid`` (None: the original one).

        Returns ``(nz, ny, nx, components)`` float32 in the data's units. ``grid`` is one that
        ``Archive.grid`` was resampled or cropped to. Where a step has a ``bound``, no value at
        an original voxel is further from its original. Raises ArchiveError, MetaINRError.
        """
        self._check(step)
        return self._decoder.decode(step, grid or self.grid, device, progress)

    def decode_ahead(
        self, step: int, grid: Grid, *, device: str = "auto"
    ) -> Callable[[Progress], np.ndarray] | None:
        """Begins to decode a step, and returns at once what waits for its values and returns them.

        They are those of ``decode``. Threads of the compiled library work meanwhile, at low
        priority, until they are done or nobody refers to what was returned any more. None where
        PyTorch would decode, which does nothing in the background. Raises ArchiveError,
        MetaINRError, as does what is returned.
        """
        self._check(step)
        return self._decoder.decode_ahead(step, grid, device)


def _shorten(steps: list[int]) -> str:
    if not steps:
        return "none"
    if steps == list(range(steps[0], steps[-1] + 1)):
        return f"steps {steps[0]} to {steps[-1]}"
    return "steps " + ", ".join(map(str, steps[:10])) + (" …" if len(steps) > 10 else "")
