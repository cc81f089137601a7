"""Networks as safetensors.

Nothing read here can run code, and nothing is allocated before the file's own header, its size
and the expected shapes agree (``tensor_file``).
"""

from __future__ import annotations

import base64
import itertools
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from .bounded_json import parse_json
from .config import SirenConfig
from .errors import DAMAGE, MetaINRError
from .hashing import fingerprint
from .siren import Siren, layer_sizes
from .tensor_file import TensorFile, damaged, read_texts
from .writing import write_atomically

_KEY, _PACKED = "metainr", "packed"
_MOST_METADATA = 1 << 25
# What descriptions have in common, for zlib. A part of format 3: it must never change.
_COMMON = (
    b'{"array":"","components":1,"value_range":{"low":[-1.0],"high":[1.0]},"config":{"siren":'
    b'{"width":64,"hidden_layers":3,"omega_0":30.0,"first_scale":0.0,"brick_size":32},"sampling":'
    b'"random","lambda_s":4,"lambda_t":4,"fraction":0.0078125,"outer":"reptile","outer_steps":60,'
    b'"inner_steps":64,"tasks":8,"inner_floor":0.1,"outer_learning_rate":0.0},"history":[{"round":'
    b'1,"loss_before":0.0,"loss_after":0.0,"seconds":0.0}],"outer_state":[],"fingerprint":"",'
    b'"header":{"array":"velocity_magnitude","components":1,"grid":{"dims":[64,64,64],"spacing":'
    b'[1.0,1.0,1.0],"origin":[0.0,0.0,0.0],"direction":[1.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0,1.0],'
    b'"start":[0,0,0],"association":"point"},"siren":{"width":64,"hidden_layers":3,"omega_0":30.0,'
    b'"first_scale":0.0,"brick_size":0},"value_range":{"low":[0.0],"high":[1.0]}},"info":{"series"'
    b':".pvd","series_steps":16,"series_range":{"low":[0.0],"high":[1.0]},"encode":{"siren":null,'
    b'"init":"meta","epochs":4,"batch_size":0,"optimizer":"muon","learning_rate":0.0,'
    b'"weight_decay":-1.0,"schedule":"cosine","selection":"gradient","target_psnr":0.0,'
    b'"target_ratio":0.0,"max_error":0.0,"weights":"coded","adapt":"all","key_interval":8,'
    b'"device":"auto","precision":"auto","seed":0},"prior":{"kind":"meta","digest":"",'
    b'"voxel_share":0.0078125}},"record":{"step":0,"time":0.0,"psnr":40.0,"psnr_series":40.0,'
    b'"max_error":0.0,"seconds":0.0,"epochs":4,"mean_squared_error":0.0,"value_low":[0.0],'
    b'"value_high":[1.0],"data":"","settings":"","precision":"bf16","weights":"coded",'
    b'"reference":"previous","bytes":0,"ratio":0.0,"sha256":""},"digest":""}'
)


def tensor_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> bytes:
    """A safetensors file with ``metadata`` (JSON-able)."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    return save(plain, {_KEY: json.dumps(_packed(metadata))})


def save_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> bytes:
    """Writes a safetensors file (``tensor_bytes``) atomically; returns its bytes."""
    data = tensor_bytes(tensors, metadata)
    write_atomically(path, data)
    return data


def _packed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Kind and version in plain text, the rest compressed: a coded step has 2 kB of weights."""
    plain = {name: metadata[name] for name in ("kind", "version") if name in metadata}
    rest = {name: value for name, value in metadata.items() if name not in plain}
    text = json.dumps(rest, separators=(",", ":")).encode()
    if len(text) > _MOST_METADATA:
        raise MetaINRError(f"{len(text)} bytes of metadata; {_MOST_METADATA} can be read again")
    stream = zlib.compressobj(9, zdict=_COMMON)
    data = stream.compress(text) + stream.flush()
    return {**plain, _PACKED: base64.b85encode(data).decode()}


def _unpacked(metadata: dict[str, Any]) -> dict[str, Any]:
    """The inverse. Raises ValueError, zlib.error."""
    if _PACKED not in metadata:  # versions 1 and 2
        return metadata
    stream = zlib.decompressobj(zdict=_COMMON)
    data = stream.decompress(base64.b85decode(metadata.pop(_PACKED)), _MOST_METADATA)
    if not stream.eof:
        raise ValueError(f"its metadata is larger than {_MOST_METADATA} bytes")
    rest = parse_json(data)
    if not isinstance(rest, dict):
        raise ValueError("its metadata is no JSON object")
    return {**metadata, **rest}


def siren_tensors(siren: Siren, prefix: str = "") -> dict[str, torch.Tensor]:
    """``weight_l`` ``(networks, in, out)`` and ``bias_l`` ``(networks, 1, out)`` by name."""
    result = {}
    for layer, (weight, bias) in enumerate(zip(siren.weights, siren.biases, strict=True)):
        result[f"{prefix}weight_{layer}"] = weight
        result[f"{prefix}bias_{layer}"] = bias
    return result


def read_metadata(path: Path, *, linked: bool = True) -> dict[str, Any]:
    """The metadata that ``save_tensors`` stored. Raises MetaINRError.

    ``linked``: see ``TensorFile``.
    """
    return metadata_of(path, read_texts(path, linked=linked))


def metadata_of(path: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """The same from a file's texts (``TensorFile.metadata``). Raises MetaINRError."""
    if _KEY not in texts:
        raise MetaINRError(f"{path} was not written by Meta-INR: it has no metadata")
    try:
        metadata = parse_json(texts[_KEY].encode())
        if isinstance(metadata, dict):
            metadata = _unpacked(metadata)
    except (*DAMAGE, zlib.error) as error:
        raise damaged(path, error) from error
    if not isinstance(metadata, dict):
        raise MetaINRError(f"{path} is damaged: its metadata is no JSON object")
    return metadata


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Of what a file holds besides its metadata: 8 hexadecimal digits."""
    return _of_arrays({name: t.detach().cpu().numpy() for name, t in tensors.items()})


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    return fingerprint(*itertools.chain(*sorted(arrays.items())))[:8]


def file_checksum(file: TensorFile) -> str:
    """``checksum`` of the tensors in a file. Raises MetaINRError."""
    return _of_arrays({name: file.any_tensor(name) for name in file.names})


def load_siren(
    file: TensorFile,
    config: SirenConfig,
    components: int,
    networks: int,
    prefix: str = "",
    dtype: str = "F32",
) -> Siren:
    """The networks in a file, as float32, after checking every shape. Raises MetaINRError.

    ``dtype``: of the file's tensors, F32 or F16. float32 networks are views of the file.
    """
    weights: list[torch.Tensor] = []
    biases: list[torch.Tensor] = []
    for layer, (inputs, outputs) in enumerate(layer_sizes(config, components)):
        for kind, rows, target in (("weight", inputs, weights), ("bias", 1, biases)):
            name, shape = f"{prefix}{kind}_{layer}", [networks, rows, outputs]
            target.append(torch.from_numpy(file.tensor(name, dtype, shape)).float())
    return Siren(weights, biases, config.omega_0)
