"""The folder of an archive: a file of weights for each step, and the prior they may refer to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .errors import ArchiveError, PriorError
from .hashing import file_sha256
from .layout import BrickLayout
from .prior import Prior
from .records import Header, StepRecord, with_data, with_file
from .residual import decompress
from .siren import Siren
from .storage import checksum, file_checksum, load_bytes, read_metadata, tensor_bytes
from .weights import as_bytes_tensor, digest, pack, unpack
from .writing import write_atomically

FORMAT_VERSION = 3
_REFERENCE_NAMES = {"none": "numbers", "prior": "prior", "previous": "step before"}
_RESIDUAL = "residual"
_HELD_BYTES = 64 << 20


class StepFiles:
    """Reads and writes the steps' files. ``records`` is the archive's own, by step."""

    def __init__(self, folder: Path, header: Header, records: dict[int, StepRecord]):
        self.folder = folder
        self.header = header
        self.records = records
        self.layout = BrickLayout.of(header.grid.dims, header.siren.brick_size)
        # Networks read or written lately, with their files' sha256: steps are stored relative to
        # the one before, and are also asked for backwards.
        self._held: OrderedDict[int, tuple[str, Siren]] = OrderedDict()
        self._prior: Siren | None = None
        self._unwritten_prior: bytes | None = None  # as the file is

    @property
    def prior_path(self) -> Path:
        return self.folder / "prior.safetensors"

    def path(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}.safetensors"

    def found(self) -> dict[int, Path]:
        """The files that are named as steps, by step."""
        found = {}
        for path in sorted(self.folder.glob("step_*.safetensors")):
            number = path.stem.removeprefix("step_")
            if number.isdecimal() and path == self.path(int(number)):
                found[int(number)] = path
        return found

    def is_intact(self, step: int) -> bool:
        """Whether the step's file is the one that was recorded."""
        path = self.path(step)
        return path.is_file() and file_sha256(path) == self.records[step].sha256

    def give_prior(self, prior: Prior) -> None:
        """The prior that steps may be differences to; ``write_prior`` writes it."""
        self._prior = prior.siren
        self._unwritten_prior = prior.to_bytes()

    @property
    def prior_bytes(self) -> int:
        """Of its file, also before that is there; 0 without one."""
        if self._unwritten_prior is not None:
            return len(self._unwritten_prior)
        return self.prior_path.stat().st_size if self.prior_path.exists() else 0

    def forget_prior(self) -> None:
        """There is none, whatever file there is."""
        self._prior, self._unwritten_prior = None, b""

    def write_prior(self) -> None:
        if self._unwritten_prior:
            write_atomically(self.prior_path, self._unwritten_prior)
        self._unwritten_prior = None

    def clear(self) -> None:
        """Removes all steps, then the prior; what is left can be decoded at any time."""
        try:
            for path in [*reversed(self.found().values()), self.prior_path]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ArchiveError(
                f"{path} cannot be removed: {error.strerror or error}; choose another file"
            ) from error

    def write(
        self,
        record: StepRecord,
        siren: Siren,
        codes: Tensor | None,
        residual: bytes | None,
        info: Mapping[str, Any],
    ) -> None:
        """One step's file, and its record with the file's figures (``Archive.write_step``)."""
        metadata = {
            "kind": "step",
            "version": FORMAT_VERSION,
            "header": self.header.to_json(),
            "info": info,
            "record": record.to_json(),
        }
        metadata["digest"] = digest(metadata, siren)
        tensors = pack(siren, record.weights, self._reference(record), codes)
        if residual is not None:
            tensors[_RESIDUAL] = as_bytes_tensor(residual)
        data = tensor_bytes(tensors, {**metadata, "sum": checksum(tensors)})
        write_atomically(self.path(record.step), data)
        self._held.clear()  # those that are stored relative to what the file was before
        self._hold(with_data(record, data, self.header), siren)

    def adopt(self, step: int, record: StepRecord, metadata: Mapping[str, Any]) -> None:
        """Records a file that no index describes, after checking that it is whole.

        Raises MetaINRError, OSError or one of DAMAGE; then nothing is recorded.
        """
        known = self.records.get(step)
        self.records[step] = with_file(record, self.path(step), self.header)
        try:
            # That of a coder's weights alone would not notice what the coder does not read.
            if metadata.get("sum") not in (None, file_checksum(self.path(step))):
                raise ArchiveError(f"{self.path(step)} is damaged; encode step {step} again")
            self._load(step, metadata)
            if record.bound:
                self.residual(step)
        except BaseException:
            del self.records[step]
            if known is not None:
                self.records[step] = known
            raise

    def load(self, step: int) -> Siren:
        """The networks of a step (``Archive.load_step``)."""
        chain = [step]
        while not self._holds(chain[-1]) and self.records[chain[-1]].reference == "previous":
            chain.append(chain[-1] - 1)
            if chain[-1] not in self.records:
                raise ArchiveError(
                    f"{self.path(chain[-2])} holds a difference to step {chain[-1]}, which is"
                    " missing; encode both again"
                )
        for number in reversed(chain):
            siren = self._load(number)
        return siren

    def residual(self, step: int) -> np.ndarray:
        """What the networks of a step lack: ``(nz, ny, nx, components)`` float32, data units.

        Raises ArchiveError when it is damaged.
        """
        path, (nx, ny, nz) = self.path(step), self.header.grid.dims
        try:
            return decompress(load_bytes(path, _RESIDUAL), (nz, ny, nx, self.header.components))
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error}") from error

    def _load(self, step: int, metadata: Mapping[str, Any] | None = None) -> Siren:
        """``metadata``: the file's, if there was no index to know it by."""
        record, path, header = self.records[step], self.path(step), self.header
        try:
            if file_sha256(path) != record.sha256:
                raise ArchiveError(
                    f"{path} is not the file the archive recorded (its sha256 differs);"
                    f" encode step {step} again"
                )
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror or error}") from error
        if self._holds(step):
            self._held.move_to_end(step)
            return self._held[step][1]
        reference, networks = self._reference(record), self.layout.bricks
        siren = unpack(path, record.weights, header.siren, header.components, networks, reference)
        if metadata is not None or reference is not None:
            metadata = metadata or read_step(path)
            if metadata["digest"] != digest(metadata, siren):
                raise ArchiveError(
                    f"{path} holds a difference to the {_REFERENCE_NAMES[record.reference]}, which"
                    f" has changed; encode step {step} again"
                )
        self._hold(record, siren)
        return siren

    def _reference(self, record: StepRecord) -> Siren | None:
        """What a step's coded weights are differences to; None for 0."""
        if record.reference == "prior":
            try:
                self._prior = self._prior or Prior.load(self.prior_path).siren
            except PriorError as error:
                raise ArchiveError(
                    f"{self.prior_path}, to which the steps are differences, is missing or damaged;"
                    " copy the archive with all of its folder again, or encode it again"
                ) from error
            return self._prior.repeat(self.layout.bricks)
        if record.reference == "previous":
            return self.load(record.step - 1)
        return None

    def _hold(self, record: StepRecord, siren: Siren) -> None:
        self.records[record.step] = record
        self._held[record.step] = record.sha256, siren
        self._held.move_to_end(record.step)
        while len(self._held) > 1 and sum(s.bytes for _, s in self._held.values()) > _HELD_BYTES:
            self._held.popitem(last=False)

    def _holds(self, step: int) -> bool:
        record = self.records.get(step)
        return record is not None and record.sha256 == self._held.get(step, ("",))[0]


def check_version(path: Path, data: Mapping[str, Any]) -> None:
    """Raises ArchiveError when a file is of a newer format."""
    if int(data["version"]) > FORMAT_VERSION:
        raise ArchiveError(
            f"{path} has format version {data['version']}; this Meta-INR reads up to"
            f" {FORMAT_VERSION}: update it"
        )


def read_step(path: Path) -> dict[str, Any]:
    """What a step's file says of itself. Raises MetaINRError or one of DAMAGE."""
    metadata = read_metadata(path)
    if metadata["kind"] != "step":
        raise ArchiveError(f"{path} is a {metadata['kind']!r} file, not a step")
    check_version(path, metadata)
    return metadata
