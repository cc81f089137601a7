"""The folder of an archive: a file of weights for each step, and the prior they may refer to.

Versions of the format, of archives and priors alike: readers read all older versions for ever, and
refuse newer ones in one line. What an old reader would not understand, or take for something else,
is a new version: another field of a header or record (unknown ones are refused), another coding or
number in the tables of ``coding`` and ``rounding``, another text that ``storage`` compresses with.
These are a part of version 3 and never change. A new version comes with golden archives
(tests/golden), which are written once, by the first program that writes it, and decoded by the
tests from then on.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .errors import DAMAGE, ArchiveError, PriorError
from .hashing import file_sha256
from .layout import BrickLayout
from .prior import Prior
from .records import Header, StepRecord, with_data
from .residual import check, decompress
from .siren import Siren, zeros
from .storage import checksum, file_checksum, metadata_of, read_metadata, tensor_bytes
from .tensor_file import TensorFile, read_whole, refuse_link
from .weights import as_bytes_tensor, check_size, digest, pack, unpack
from .writing import remove, write_atomically

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
        refuse_link(path)
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
        remove([*reversed(self.found().values()), self.prior_path])

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
        if record.weights == "coded":
            check_size(siren, len(data), self.header.grid.voxels * self.header.components)
        write_atomically(self.path(record.step), data)
        self._held.clear()  # those that are stored relative to what the file was before
        self._hold(with_data(record, data, self.header), siren)

    def adopt(self, step: int, record: StepRecord, metadata: Mapping[str, Any]) -> None:
        """Records a file that no index describes, after checking that it is whole.

        Raises MetaINRError, OSError or one of DAMAGE; then nothing is recorded.
        """
        known = self.records.get(step)
        file = self._file(step)
        self.records[step] = with_data(record, file.data, self.header)
        try:
            # That of a coder's weights alone would not notice what the coder does not read.
            if metadata.get("sum") not in (None, file_checksum(file)):
                raise ArchiveError(f"{file.path} is damaged; encode step {step} again")
            self._load(step, file, metadata)
            if record.bound:
                check(file.tensor(_RESIDUAL, "U8").data, self._shape)
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
            with _damage(self.path(number)):
                siren = self._load(number, self._file(number, self.records[number].sha256))
        return siren

    def residual(self, step: int) -> np.ndarray:
        """What the networks of a step lack: ``(nz, ny, nx, components)`` float32, data units.

        Raises ArchiveError when it is damaged.
        """
        file = self._file(step, self.records[step].sha256)
        try:
            return decompress(file.tensor(_RESIDUAL, "U8").data, self._shape)
        except ArchiveError as error:
            raise ArchiveError(f"{file.path}: {error}") from error

    def _file(self, step: int, sha256: str | None = None) -> TensorFile:
        """A step's file, which has to be the one with this ``sha256``. Raises MetaINRError."""
        path = self.path(step)
        try:
            data = read_whole(path, linked=False)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror or error}") from error
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise ArchiveError(
                f"{path} is not the file the archive recorded (its sha256 differs);"
                f" encode step {step} again"
            )
        return TensorFile(path, data)

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        """Of a volume."""
        nx, ny, nz = self.header.grid.dims
        return nz, ny, nx, self.header.components

    def _load(
        self, step: int, file: TensorFile, metadata: Mapping[str, Any] | None = None
    ) -> Siren:
        """``metadata``: the file's, if there was no index to know it by."""
        record, path, header = self.records[step], file.path, self.header
        if self._holds(step):
            self._held.move_to_end(step)
            return self._held[step][1]
        reference, networks = self._reference(record), self.layout.bricks
        siren = unpack(
            file,
            record.weights,
            header.siren,
            header.components,
            networks,
            reference,
            header.grid.voxels * header.components,
        )
        if metadata is not None or reference is not None:
            metadata = metadata or metadata_of(path, file.metadata)
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
                self._prior = self._prior or Prior.load(self.prior_path, linked=False).siren
            except PriorError as error:
                raise ArchiveError(
                    f"{self.prior_path}, to which the steps are differences, is missing or damaged;"
                    " copy the archive with all of its folder again, or encode it again"
                ) from error
            shape = zeros(self.header.siren, 1, self.header.components)
            if [t.shape for t in self._prior.tensors] != [t.shape for t in shape.tensors]:
                raise ArchiveError(f"{self.prior_path} is of another network than the steps")
            return self._prior.map(lambda t: t.detach().expand(self.layout.bricks, -1, -1))
        if record.reference == "previous":
            return self.load(record.step - 1)
        return None

    def _hold(self, record: StepRecord, siren: Siren) -> None:
        self.records[record.step] = record
        self._held[record.step] = record.sha256, siren
        self._held.move_to_end(record.step)
        # All steps have networks of one shape. Of thousands, a sum would be the longest work.
        while len(self._held) > max(1, _HELD_BYTES // siren.bytes):
            self._held.popitem(last=False)

    def _holds(self, step: int) -> bool:
        record = self.records.get(step)
        return record is not None and record.sha256 == self._held.get(step, ("",))[0]


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Reports what else a damaged description raises."""
    try:
        yield
    except DAMAGE as error:
        raise ArchiveError(f"{path} is damaged: {error!r:.200} in its description") from error


def check_version(path: Path, data: Mapping[str, Any]) -> None:
    """Raises ArchiveError when a file is of a newer format."""
    if int(data["version"]) > FORMAT_VERSION:
        raise ArchiveError(
            f"{path} has format version {data['version']}; this Meta-INR reads up to"
            f" {FORMAT_VERSION}: update it"
        )


def read_step(path: Path) -> dict[str, Any]:
    """What a step's file says of itself. Raises MetaINRError or one of DAMAGE."""
    metadata = read_metadata(path, linked=False)
    if metadata["kind"] != "step":
        raise ArchiveError(f"{path} is a {metadata['kind']!r} file, not a step")
    check_version(path, metadata)
    return metadata
