"""The ``.minr`` archive: a JSON index beside a folder with one file of weights per time step.

``run.minr`` names what the steps share (series, grid, network, value range); ``run/`` holds
``step_000012.safetensors`` files and the prior. Every step file repeats the index's shared part
in its own header, so the index can be rebuilt from the steps, and a process that was killed
between writing a step and the index loses nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import fused
from .decode import decode_grid, start_grid
from .device import decode_dtype, find_device
from .errors import DAMAGE, ArchiveError, MetaINRError
from .grid import Grid
from .layout import BrickLayout
from .members import Member, member_of, members_from_json, merged
from .memory import free_memory
from .prior import Prior
from .records import Header, StepRecord, of_one_fit, over_range
from .residual import resample
from .series import Progress, Range, no_progress
from .siren import Siren
from .step_files import FORMAT_VERSION, StepFiles, check_version, read_step
from .writing import make_folder, write_atomically

_Plan = tuple[Siren, BrickLayout, list[np.ndarray], np.ndarray, np.ndarray, torch.dtype]

_INDEX_INTERVAL = 2.0  # seconds between writes of the index while steps are added


class Archive:
    """A ``.minr`` archive, open for decoding and for adding steps."""

    def __init__(
        self, path: Path, header: Header, records: Mapping[int, StepRecord], info: Mapping[str, Any]
    ):
        self.path = path
        self.header = header
        self._records = dict(records)
        self.info = dict(info)
        self.layout = BrickLayout.of(header.grid.dims, header.siren.brick_size)
        self._files = StepFiles(self.folder, header, self._records)
        self._index_written = 0.0
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
        known = [Range.from_json(self.info["series_range"], self.components)]
        return Range.union(known + [r.value_range for r in self._records.values()])

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
        """Whether there is an index, or are steps that it can be rebuilt from."""
        path = checked(path)
        return path.exists() or any(path.with_suffix("").glob("step_*.safetensors"))

    @classmethod
    def create(cls, path: str | Path, header: Header, info: Mapping[str, Any]) -> Archive:
        """A new archive without steps; replaces one that is there."""
        archive = cls(checked(path), header, {}, info)
        make_folder(archive.folder)
        archive.write_index()
        # Steps of the old archive must not be taken for steps of the new one.
        for old in [*archive._files.found().values(), archive.prior_path]:
            old.unlink(missing_ok=True)
        return archive

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
        self._files.write(record, siren, codes, residual, self._own_info(record.step))
        if time.monotonic() - self._index_written > _INDEX_INTERVAL:
            self.write_index()
        return self.record(record.step)

    def _own_info(self, step: int) -> dict[str, Any]:
        """What a step's file says of the series: of an ensemble's members it names its own."""
        if "members" not in self.info:
            return self.info
        return {**self.info, "members": [member_of(self.members, step).to_json()]}

    def store_prior(self, prior: Prior) -> None:
        """Keeps a prior that steps may be differences to."""
        self._files.store_prior(prior)

    def write_index(self) -> None:
        """Writes ``run.minr``. Steps that other processes added meanwhile are found on opening."""
        x, y, z = self.layout.axes
        index = {
            "format": "minr",
            "version": FORMAT_VERSION,
            **self.header.to_json(),
            "bricks": {
                "shape": self.layout.brick_shape,
                "starts": {"x": x.starts, "y": y.starts, "z": z.starts},
            },
            "info": self.info,
            "identity": self.header.identity,
        }
        # One line for each entry and each step: short, and people can read it.
        rows = [_json(r.to_json()) for r in self.records]
        entries = [f"{_json(name)}: {_json(value)}" for name, value in index.items()]
        steps = ",\n  ".join(rows)
        text = "{\n " + ",\n ".join([*entries, f'"steps": [\n  {steps}\n ]']) + "\n}\n"
        # A finished archive in a folder that is for reading only stays usable.
        if not (self.path.exists() and self.path.read_bytes() == text.encode()):
            write_atomically(self.path, text.encode())
        self._index_written = time.monotonic()

    # Reading

    @classmethod
    def open(cls, path: str | Path) -> Archive:
        """Opens an archive; adds finished steps that the index does not name yet.

        Raises ArchiveError when the file is none, is damaged, or is of a newer format.
        """
        path = checked(path)
        if not path.exists() and cls.exists(path):
            return cls._rebuild(path)
        try:
            text = path.read_bytes()
            # Of another kind, and not to be deleted as one that is damaged.
            data = json.loads(text) if text.lstrip()[:1] in (b"{", b"") else None
            if not isinstance(data, dict) or data.get("format") != "minr":
                raise ArchiveError(
                    f"{path} is no .minr archive; choose a file that Meta-INR Encode, File > Save"
                    " Data or metainr encode wrote"
                )
            check_version(path, data)
            header = Header.from_json(data)
            records = {int(r["step"]): StepRecord.from_json(r) for r in data["steps"]}
            archive = cls(path, header, records, data["info"])
            # What is damaged shows here, not in the middle.
            archive.series_range  # noqa: B018
            members = archive.members
            for step in records:
                member_of(members, step)
        except FileNotFoundError as error:
            raise ArchiveError(f"{path} does not exist") from error
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror or error}") from error
        except ArchiveError:
            raise
        except (MetaINRError, *DAMAGE) as error:
            what = str(error) if isinstance(error, json.JSONDecodeError) else repr(error)
            raise ArchiveError(
                f"{path} is damaged ({what}); if its folder is intact, delete this file alone"
                " and open it again: it is rebuilt from its steps"
            ) from error
        archive._adopt_steps()
        return archive

    @classmethod
    def _rebuild(cls, path: Path) -> Archive:
        """The archive of a folder of steps whose index is lost."""
        for file in sorted(path.with_suffix("").glob("step_*.safetensors")):
            try:
                metadata = read_step(file)
                header = Header.from_json(metadata["header"])
                archive = cls(path, header, {}, metadata["info"])
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
            known = self._records.get(step)
            try:
                metadata = read_step(path)
                record = StepRecord.from_json(metadata["record"])
                if Header.from_json(metadata["header"]) != self.header or record.step != step:
                    continue
                if known is not None and of_one_fit(known, record):
                    continue
                members = self._members_with(metadata["info"], step)
                self._files.adopt(step, record, metadata)
                if members:
                    self.info["members"] = [m.to_json() for m in members]
            except (MetaINRError, OSError, *DAMAGE):
                # Damaged or foreign: reported when somebody asks for this very step.
                continue
        self.missing = [s for s in self.steps if s not in files]
        for step in self.missing:
            del self._records[step]
        if self.missing and not self.folder.is_dir():
            raise ArchiveError(f"folder {self.folder} is missing; it has to lie beside {self.path}")

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
            try:
                usable = step in self._records and self.is_intact(step)
                if usable and self._records[step].reference != "none":
                    self.load_step(step)
            except (MetaINRError, OSError):
                usable = False
            if not usable:
                result.append(step)
        return result

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
        siren, grid = self.load_step(step), grid or self.grid
        with self._memory_for(grid):
            plan = self._plan(step, siren.to(find_device(device)), grid)
            return self._complete(step, grid, decode_grid(*plan, progress))

    def decode_ahead(
        self, step: int, grid: Grid, *, device: str = "auto"
    ) -> Callable[[Progress], np.ndarray] | None:
        """Begins to decode a step, and returns at once what waits for its values and returns them.

        They are those of ``decode``. Threads of the compiled library work meanwhile, at low
        priority, until they are done or nobody refers to what was returned any more. None where
        PyTorch would decode, which does nothing in the background. Raises ArchiveError,
        MetaINRError, as does what is returned.
        """
        siren = self.load_step(step).to(find_device(device))
        with self._memory_for(grid):
            plan = self._plan(step, siren, grid)
            if not fused.serves(siren.weights[0].device, plan[-1]):
                return None
            decoding = start_grid(*plan, background=True)

        def values(progress: Progress = no_progress) -> np.ndarray:
            with self._memory_for(grid, held=True):
                return self._complete(step, grid, decoding.values(progress))

        return values

    def _plan(self, step: int, siren: Siren, grid: Grid) -> _Plan:
        """The arguments of ``decode_grid`` up to ``dtype``."""
        dtype = decode_dtype(self._records[step].precision, siren.weights[0].device)
        centre, half = self.header.value_range.scale()
        return siren, self.layout, self.grid.index_coordinates(grid), centre, half, dtype

    def _complete(self, step: int, grid: Grid, values: np.ndarray) -> np.ndarray:
        """With what the networks lack, where a bound is kept."""
        if self._records[step].bound:
            values += resample(self._files.residual(step), self.grid.index_coordinates(grid))
        return values

    @contextmanager
    def _memory_for(self, grid: Grid, held: bool = False) -> Iterator[None]:
        """Says what to do where there is not enough; ``held``: the values have theirs."""
        # The values, and where they lie along each axis.
        size = 4 * grid.voxels * self.components + 32 * sum(grid.dims)
        try:
            if not held and size > free_memory():
                raise MemoryError
            yield
        except MemoryError as error:
            raise MetaINRError(
                f"{grid.dims} values need {size / 2**30:.3g} GiB, which this machine does not"
                " have free; decode fewer values or a box of them"
            ) from error


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".minr":
        raise ArchiveError(f"{path}: an archive's name ends in .minr")
    return path


def _shorten(steps: list[int]) -> str:
    if not steps:
        return "none"
    if steps == list(range(steps[0], steps[-1] + 1)):
        return f"steps {steps[0]} to {steps[-1]}"
    return "steps " + ", ".join(map(str, steps[:10])) + (" …" if len(steps) > 10 else "")
