"""Weights of networks as files hold them: ``float32``, ``float16`` or ``coded``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import coding
from .config import SirenConfig
from .errors import ArchiveError
from .hashing import fingerprint
from .rounding import Rounding, step_sizes
from .siren import Siren, zeros
from .storage import load_siren, siren_tensors
from .tensor_file import TensorFile

_CODE = "code"
# See ``most_bytes``.
_MOST_FREE, _FREE, _PER_BYTE, _OF_TENSOR = 190_000_000, 60_000_000, 32, 32
# Numbers that are placed at once.
_BLOCK = 1 << 19
# Where float32 still tells neighbouring phases apart well, and all ways to compute a sine work.
_LARGEST_PHASE = 4e6


def as_stored(siren: Siren, weights: str) -> Siren:
    """The networks as they come back from a file; coded ones lie on their grid already."""
    return siren.map(lambda t: t.half().float()) if weights == "float16" else siren


def pack(siren: Siren, weights: str, reference: Siren | None, codes: Tensor | None) -> dict:
    """Tensors of a file. ``codes`` (``Rounding``) and ``reference`` are those of coded weights.

    Without a reference coded weights are differences to 0.
    """
    if weights == "float16":
        return siren_tensors(siren.map(Tensor.half))
    if weights == "float32":
        return siren_tensors(siren)
    assert codes is not None
    rounding = Rounding.of(reference or siren.map(torch.zeros_like), codes)
    numbers = rounding.numbers(siren.flat()).numpy()
    data = coding.compress(numbers, codes.numpy(), _sizes(siren))
    return {_CODE: as_bytes_tensor(data)}


def unpack(
    file: TensorFile,
    weights: str,
    config: SirenConfig,
    components: int,
    networks: int,
    reference: Siren | None = None,
    values: int = 0,
) -> Siren:
    """Networks from a file, float32. Raises MetaINRError when it is damaged or holds others.

    ``values``: of the volume that they stand for, see ``most_bytes``.
    """
    if weights != "coded":
        dtype = {"float16": "F16", "float32": "F32"}[weights]
        siren = load_siren(file, config, components, networks, dtype=dtype)
    else:
        shape = zeros(config, 1, components)
        needed, most = _bytes(shape, networks), most_bytes(file.size, values)
        if needed > most:
            raise ArchiveError(
                f"{file.path} has {file.size} bytes and says that it holds networks of {needed};"
                f" expected at most {most}, so it is damaged"
            )
        try:
            data = file.tensor(_CODE, "U8").data
            numbers, codes = coding.decompress(data, networks, _sizes(shape))
        except ArchiveError as error:
            raise ArchiveError(f"{file.path}: {error}") from error
        siren = _placed(numbers, codes, shape, reference)
    try:
        check_networks(siren)
    except ArchiveError as error:
        raise ArchiveError(f"{file.path}: {error}") from error
    return siren


def most_bytes(size: int, values: int) -> int:
    """That coded networks may take in memory, from a file of ``size`` bytes.

    Networks without a difference to their reference, as of bricks that are constant, take next to
    nothing in a file, so this cannot be in proportion to it: 1024³ values in bricks of 32³ need
    180 MB. But nothing small may become large: above ``values`` float32 numbers there has to be a
    bit in the file for each weight, or nearly the weight itself.
    """
    return max(min(_MOST_FREE, _FREE + 4 * values) + size, _PER_BYTE * size)


def check_size(siren: Siren, size: int, values: int) -> None:
    """Raises ArchiveError when ``unpack`` would refuse these networks, coded, for their size."""
    if _bytes(siren, siren.networks) > most_bytes(size, values):
        raise ArchiveError(
            f"{siren.networks} networks became only {size} bytes, less than can be told from a"
            " damaged file; choose larger bricks, narrower networks or weights float16"
        )


def check_networks(siren: Siren) -> None:
    """Raises ArchiveError where a weight is not finite, or no phase of a sine could be exact."""
    for weight, bias in zip(siren.weights, siren.biases, strict=True):
        ends = [float(v) for t in (weight, bias) for v in t.aminmax()]
        largest = max(map(abs, ends)) if all(map(math.isfinite, ends)) else math.inf
        phase = siren.omega_0 * max(largest, 1e-38) * (weight.shape[1] + 1)
        last = weight is siren.weights[-1]
        if largest == math.inf or not (last or phase < _LARGEST_PHASE):
            raise ArchiveError(
                f"its networks have weights up to {largest:g} at omega_0 {siren.omega_0:g}, with"
                " which nothing can be computed"
            )


def _placed(numbers: np.ndarray, codes: np.ndarray, shape: Siren, reference: Siren | None) -> Siren:
    """``Rounding.place``, in the memory of ``numbers``; ``reference``: None for 0."""
    flat = torch.from_numpy(numbers)
    weights, steps = flat.view(torch.float32), step_sizes(torch.tensor(codes))
    column = 0
    for place, tensor in enumerate((reference or shape).tensors):
        base, size = tensor.flatten(1), tensor[0].numel()
        rows = max(1, _BLOCK // size)
        for first in range(0, len(flat), rows):
            some = slice(first, first + rows)
            for begin in range(0, size, _BLOCK):
                end = min(begin + _BLOCK, size)
                own = slice(column + begin, column + end)
                near = base[0 if reference is None else some, begin:end]
                weights[some, own] = near + flat[some, own] * steps[some, place : place + 1]
        column += size
    return shape.view(weights)


def _bytes(siren: Siren, networks: int) -> int:
    """Of so many networks of this shape, and of what decoding them needs besides."""
    return networks * sum(4 * t[0].numel() + _OF_TENSOR for t in siren.tensors)


def as_bytes_tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def digest(description: Mapping[str, Any], siren: Siren) -> str:
    """Fingerprint of a step's own description and weights, which needs no index."""
    parts = [description[name] for name in ("header", "info", "record")]
    return fingerprint(*parts, *(t.detach().cpu().numpy() for t in siren.tensors))


def _sizes(siren: Siren) -> list[int]:
    return [t[0].numel() for t in siren.tensors]
