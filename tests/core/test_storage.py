"""Networks in files: nothing strange in them gets through."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from metainr_core import storage
from metainr_core.config import SirenConfig
from metainr_core.errors import MetaINRError
from metainr_core.siren import initialize
from metainr_core.storage import (
    load_siren,
    read_metadata,
    save_tensors,
    siren_tensors,
)
from metainr_core.tensor_file import TensorFile
from tests.core.archives import bytes_in

CONFIG = SirenConfig(6, 2, 9.0)


def save_some(path: Path, prefix: str = "") -> list[torch.Tensor]:
    siren = initialize(CONFIG, 3, 2, torch.Generator().manual_seed(0))
    save_tensors(path, siren_tensors(siren, prefix), {"kind": "test", "é": [1.5, None]})
    return siren.tensors


def test_networks_survive(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = save_some(path, "x.")
    loaded = load_siren(TensorFile.read(path), CONFIG, 2, 3, "x.")
    assert loaded.omega_0 == 9.0
    assert all(torch.equal(a, b) for a, b in zip(tensors, loaded.tensors, strict=True))
    assert read_metadata(path) == {"kind": "test", "é": [1.5, None]}


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def huge_header(data: bytes) -> bytes:
    return struct.pack("<Q", 1 << 62) + data[8:]


def huge_tensor(data: bytes) -> bytes:
    """The header promises more bytes than the file has."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header["weight_0"]["shape"] = [1 << 20, 1 << 20]
    header["weight_0"]["data_offsets"] = [0, 1 << 42]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def no_metadata(data: bytes) -> bytes:
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    del header["__metadata__"]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def odd_metadata(value: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + size])
        header["__metadata__"] = {"metainr": value}
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    return change


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        huge_header,
        huge_tensor,
        no_metadata,
        odd_metadata("[1]"),
        odd_metadata("{"),
        odd_metadata("[" * 100_000),
        lambda data: b"",
        lambda data: b"\0" * 7,
        lambda data: b"\xff" * len(data),
        lambda data: pickle.dumps({"weight_0": 1}),
        lambda data: b"PK\x03\x04" + data,
    ],
)
def test_damaged_files_give_one_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.safetensors"
    save_some(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MetaINRError, match=r"a\.safetensors") as error:
        read_metadata(path)
    assert "\n" not in str(error.value)


# Packed metadata


def packed(text: bytes, common: bytes = storage._COMMON) -> str:
    """What ``save_tensors`` writes for metadata with this JSON."""
    stream = zlib.compressobj(9, zdict=common)
    return base64.b85encode(stream.compress(text) + stream.flush()).decode()


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"kind": "step", "version": 3},
        {"é": "ü∞", "null": None, "nested": [{"a": [1, 2.5]}], "kind": 5},
        {"long": "x" * 1_000_000},
        {"packed": "mine"},
    ],
)
def test_metadata_survive(tmp_path: Path, metadata: dict[str, Any]) -> None:
    path = tmp_path / "a.safetensors"
    data = save_tensors(path, {"weight": torch.zeros(2)}, metadata)
    assert data == path.read_bytes()
    assert read_metadata(path) == metadata


def test_kind_and_version_can_be_read_without_unpacking(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {}, {"version": 3, "other": 1, "kind": "step"})
    with safe_open(path, framework="np") as file:
        plain = json.loads(file.metadata()["metainr"])
    assert (plain.pop("kind"), plain.pop("version")) == ("step", 3)
    assert list(plain) == ["packed"]


def test_the_dictionary_of_the_format_never_changes() -> None:
    """Without it no metadata of format 3 can be read."""
    digest = hashlib.sha256(storage._COMMON).hexdigest()
    assert digest == "44e2302d75126ce6ea150816108c6f42554109e2fdf563fb7152c3bc36316185"


def test_metadata_of_formats_1_and_2_are_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_some(path)
    path.write_bytes(odd_metadata('{"kind": "old", "list": [1]}')(path.read_bytes()))
    assert read_metadata(path) == {"kind": "old", "list": [1]}


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_some(path)
    text = json.dumps({"packed": packed(b'{"a":"' + b" " * 400_000_000 + b'"}')})
    path.write_bytes(odd_metadata(text)(path.read_bytes()))
    tracemalloc.start()
    try:
        with pytest.raises(MetaINRError, match=r"a\.safetensors is damaged.*larger than 33554432"):
            read_metadata(path)
        # zlib's buffer grows in steps: twice for a moment.
        assert tracemalloc.get_traced_memory()[1] < 3 * storage._MOST_METADATA
    finally:
        tracemalloc.stop()


GOOD = packed(b'{"kind": "test", "list": [1, 2, 3]}')


@pytest.mark.parametrize(
    "value",
    [
        "",
        GOOD[:-10],
        GOOD[:10],
        GOOD[::-1],
        '"' + GOOD[1:],  # no digit of base 85
        packed(b'{"series": 1}', b'another "series" and so on'),
        base64.b85encode(b"plain").decode(),
        packed(b"[1]"),
        packed(b"{"),
        packed(b"\xff"),
        packed(b"[" * 100_000),
        5,
        None,
        ["a"],
        {},
        "é",
    ],
)
def test_damaged_packed_metadata_give_one_line(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.safetensors"
    save_some(path)
    path.write_bytes(odd_metadata(json.dumps({"packed": value}))(path.read_bytes()))
    with pytest.raises(MetaINRError, match=r"a\.safetensors is damaged") as error:
        read_metadata(path)
    assert "\n" not in str(error.value)


# Tensors of bytes


def test_bytes_survive(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    data = bytes(range(256)) * 3
    save_tensors(path, {"code": torch.tensor(list(data), dtype=torch.uint8)}, {})
    assert bytes_in(path, "code") == data
    with pytest.raises(MetaINRError, match=r"a\.safetensors: tensor other is missing"):
        bytes_in(path, "other")
    save_tensors(path, {"code": torch.zeros(3)}, {})
    with pytest.raises(MetaINRError, match="tensor code is F32, not U8"):
        bytes_in(path, "code")
    save_tensors(path, {"code": torch.zeros(0, dtype=torch.uint8)}, {})
    assert bytes_in(path, "code") == b""
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(MetaINRError, match="is damaged or no safetensors file"):
        bytes_in(path, "code")
    for absent in (tmp_path / "absent", tmp_path):
        with pytest.raises(MetaINRError):
            bytes_in(absent, "code")


@pytest.mark.parametrize(
    ("config", "networks", "components", "message"),
    [
        (
            SirenConfig(7, 2),
            3,
            2,
            r"weight_0 is F32 \[3, 3, 6\]; the network needs F32 \[3, 3, 7\]",
        ),
        (SirenConfig(6, 3), 3, 2, "weight_3 is F32"),
        (SirenConfig(6, 2), 2, 2, "needs F32"),
        (SirenConfig(6, 2), 3, 1, "weight_3 is"),
        (SirenConfig(6, 4), 3, 6, r"bias_3 is F32|weight_4 is missing|weight_3 is"),
    ],
)
def test_another_network_is_refused(
    tmp_path: Path, config: SirenConfig, networks: int, components: int, message: str
) -> None:
    save_some(tmp_path / "a.safetensors")
    with pytest.raises(MetaINRError, match=message):
        load_siren(TensorFile.read(tmp_path / "a.safetensors"), config, components, networks)


def test_another_precision_is_refused(tmp_path: Path) -> None:
    siren = initialize(CONFIG, 3, 2, torch.Generator()).map(lambda t: t.half())
    save_tensors(tmp_path / "a.safetensors", siren_tensors(siren), {})
    with pytest.raises(MetaINRError, match="F16"):
        load_siren(TensorFile.read(tmp_path / "a.safetensors"), CONFIG, 2, 3)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(MetaINRError) as error:
            read_metadata(path)
        assert str(path) in str(error.value)
        with pytest.raises(MetaINRError):
            load_siren(TensorFile.read(path), CONFIG, 2, 3)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "none.safetensors", "none.safetensors does not exist"),
        (tmp_path, "cannot be read: it is no file, but a folder"),
    ):
        with pytest.raises(MetaINRError, match=why):
            read_metadata(path)
