"""Weights of networks as files hold them: ``float32``, ``float16`` or ``coded``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import coding
from .config import SirenConfig
from .errors import ArchiveError
from .hashing import fingerprint
from .rounding import Rounding
from .siren import Siren, zeros
from .storage import load_bytes, load_siren, siren_tensors

_CODE = "code"


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
    path: Path,
    weights: str,
    config: SirenConfig,
    components: int,
    networks: int,
    reference: Siren | None = None,
) -> Siren:
    """Networks from a file, float32. Raises MetaINRError when it is damaged or holds others."""
    if weights != "coded":
        dtype = {"float16": "F16", "float32": "F32"}[weights]
        return load_siren(path, config, components, networks, dtype=dtype)
    base = reference or zeros(config, networks, components)
    try:
        numbers, codes = coding.decompress(load_bytes(path, _CODE), networks, _sizes(base))
    except ArchiveError as error:
        raise ArchiveError(f"{path}: {error}") from error
    rounding = Rounding.of(base, torch.from_numpy(codes.copy()))
    return base.view(rounding.place(torch.from_numpy(numbers)))


def as_bytes_tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def digest(description: Mapping[str, Any], siren: Siren) -> str:
    """Fingerprint of a step's own description and weights, which needs no index."""
    parts = [description[name] for name in ("header", "info", "record")]
    return fingerprint(*parts, *(t.detach().cpu().numpy() for t in siren.tensors))


def _sizes(siren: Siren) -> list[int]:
    return [t[0].numel() for t in siren.tensors]
