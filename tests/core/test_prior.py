"""Prior files: round trip, and every kind of wrong file."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from metainr_core.config import SirenConfig
from metainr_core.errors import ArchiveError, PriorError
from metainr_core.prior import Prior
from metainr_core.storage import _packed, read_metadata


def with_metadata(path: Path, **changes: Any) -> None:
    """Rewrites single fields of the description inside a prior's file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    metadata = read_metadata(path)
    for name, value in changes.items():
        if value is KeyError:
            del metadata[name]
        else:
            metadata[name] = value
    header["__metadata__"]["metainr"] = json.dumps(_packed(metadata))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def test_a_prior_survives(tmp_path: Path, prior: Prior) -> None:
    path = tmp_path / "new" / "folder" / "p.safetensors"
    prior.save(path)
    loaded = Prior.load(path)
    assert loaded.metadata() == prior.metadata()
    assert loaded.digest == prior.digest
    assert loaded.config == prior.config
    assert loaded.value_range == prior.value_range
    assert (loaded.kind, loaded.finished) == ("meta", True)
    assert list(path.parent.iterdir()) == [path]


def test_the_outer_state_survives(tmp_path: Path, prior: Prior) -> None:
    state = {"first": prior.siren.map(lambda t: t + 1), "second": prior.siren.map(torch.square)}
    unfinished = dataclasses.replace(prior, history=prior.history[:2], outer_state=state)
    unfinished.save(tmp_path / "p.safetensors")
    loaded = Prior.load(tmp_path / "p.safetensors")
    assert not loaded.finished
    for name, siren in state.items():
        pairs = zip(siren.tensors, loaded.outer_state[name].tensors, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_the_digest_is_that_of_the_weights(prior: Prior) -> None:
    assert dataclasses.replace(prior, history=[]).digest == prior.digest
    assert dataclasses.replace(prior, siren=prior.siren.map(lambda t: -t)).digest != prior.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 4}, "prior format 4; this Meta-INR reads up to 3: update it"),
        ({"version": "new"}, "damaged"),
        ({"kind": "step"}, r"time step of an archive, not a prior; open the \.minr file of that"),
        ({"kind": KeyError}, "not a prior"),
        ({"siren": KeyError}, "is damaged: KeyError"),
        ({"siren": None}, "damaged"),
        ({"siren": {"width": 10**9}}, "width"),
        ({"siren": {"width": 17, "hidden_layers": 1}}, "the network needs F32"),
        ({"siren": {"hidden_layers": 1.5}}, "hidden_layers"),
        ({"config": {"future": 1}}, "unknown PretrainConfig field 'future'"),
        ({"config": []}, "damaged|cannot be read|unknown"),
        ({"components": float("inf")}, "damaged"),
        ({"components": 10**12}, "is no range of 1000000000000 components"),
        ({"value_range": [1, 2]}, "damaged"),
        ({"value_range": {"low": [0.0]}}, "damaged"),
        ({"value_range": {"low": [0.0, 1.0], "high": [1.0, 2.0]}}, "damaged"),
        ({"value_range": {"low": [None], "high": [1.0]}}, "damaged"),
        ({"value_range": {"low": [float("nan")], "high": [1.0]}}, "damaged"),
        ({"voxel_share": None}, "damaged"),
        ({"history": 3}, "damaged"),
        ({"outer_state": ["first"]}, "first.weight_0 is missing"),
        ({"outer_state": [1]}, "damaged"),
        ({"weights": "float64"}, "damaged"),
        ({"weights": ["coded"]}, "damaged"),
        ({"weights": "float16"}, "needs F16"),
        ({"weights": "coded"}, "tensor code is missing"),
    ],
)
def test_a_wrong_description_is_one_clear_line(
    tmp_path: Path, prior: Prior, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "p.safetensors"
    prior.save(path)
    with_metadata(path, **changes)
    with pytest.raises(PriorError, match=message) as error:
        Prior.load(path)
    assert "\n" not in str(error.value)
    assert "p.safetensors" in str(error.value)


@pytest.mark.parametrize("length", [0, 4, 8, 300, -1])
def test_a_cut_prior_is_refused(tmp_path: Path, prior: Prior, length: int) -> None:
    path = tmp_path / "p.safetensors"
    prior.save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PriorError, match=r"p\.safetensors is damaged or no safetensors file"):
        Prior.load(path)


def test_other_things_are_no_priors(tmp_path: Path) -> None:
    torch.save({"weight_0": torch.zeros(3)}, tmp_path / "p.pt")
    for path in (tmp_path / "p.pt", tmp_path / "absent", tmp_path):
        with pytest.raises(PriorError) as error:
            Prior.load(path)
        assert str(path) in str(error.value)


def test_an_unwritable_place_is_reported(tmp_path: Path, prior: Prior) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="choose a writable folder"):
        prior.save(tmp_path / "file" / "p.safetensors")


def test_the_network_has_its_config(prior: Prior, tiny: SirenConfig) -> None:
    assert prior.siren_config == tiny
    assert prior.config.siren == tiny
    assert prior.siren.networks == 1
