"""Files that are whole or absent: atomic writes, and networks as safetensors.

Nothing read here can run code, and nothing is allocated before the file's own header, its size
and the expected shapes agree.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .config import SirenConfig
from .errors import ArchiveError, MetaINRError
from .siren import Siren

_KEY = "metainr"


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` so that ``path`` holds all of it or what it held before.

    Raises ArchiveError (unwritable folder, full disk); nothing half-written remains.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a result should be as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        temporary = ""
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be written: {error.strerror or error}; choose a writable folder with"
            " enough room"
        ) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raises ArchiveError when ``path`` cannot be written: better before hours of work."""
    make_folder(path.parent)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be written: {error.strerror or error}; choose a writable folder"
        ) from error


def make_folder(path: Path) -> None:
    """The folder and its parents. Raises ArchiveError when that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(
            f"folder {path} cannot be made: {error.strerror or error}; choose a writable folder"
        ) from error


def save_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> bytes:
    """Writes a safetensors file with ``metadata`` (JSON-able) atomically; returns its bytes."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    data = save(plain, {_KEY: json.dumps(metadata)})
    write_atomically(path, data)
    return data


def siren_tensors(siren: Siren, prefix: str = "") -> dict[str, torch.Tensor]:
    """``weight_l`` ``(networks, in, out)`` and ``bias_l`` ``(networks, 1, out)`` by name."""
    result = {}
    for layer, (weight, bias) in enumerate(zip(siren.weights, siren.biases, strict=True)):
        result[f"{prefix}weight_{layer}"] = weight
        result[f"{prefix}bias_{layer}"] = bias
    return result


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata that ``save_tensors`` stored. Raises MetaINRError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[_KEY])
    except KeyError as error:
        raise MetaINRError(f"{path} was not written by Meta-INR: it has no metadata") from error
    except OSError as error:
        raise MetaINRError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, RecursionError) as error:
        raise MetaINRError(f"{path} is damaged or no safetensors file: {error}") from error
    if not isinstance(metadata, dict):
        raise MetaINRError(f"{path} is damaged: its metadata is no JSON object")
    return metadata


def load_siren(
    path: Path, config: SirenConfig, components: int, networks: int, prefix: str = ""
) -> Siren:
    """The networks in a file, float32, after checking every shape. Raises MetaINRError."""
    sizes = [3] + [config.width] * (config.hidden_layers + 1) + [components]
    weights: list[torch.Tensor] = []
    biases: list[torch.Tensor] = []
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
                for kind, rows, target in (("weight", inputs, weights), ("bias", 1, biases)):
                    name, shape = f"{prefix}{kind}_{layer}", [networks, rows, outputs]
                    if name not in names:
                        raise MetaINRError(f"{path}: tensor {name} is missing")
                    part = file.get_slice(name)
                    if part.get_shape() != shape or part.get_dtype() != "F32":
                        raise MetaINRError(
                            f"{path}: tensor {name} is {part.get_dtype()} {part.get_shape()};"
                            f" the network needs F32 {shape}"
                        )
                    target.append(file.get_tensor(name))
    except OSError as error:
        raise MetaINRError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise MetaINRError(f"{path} is damaged or no safetensors file: {error}") from error
    return Siren(weights, biases, config.omega_0)
