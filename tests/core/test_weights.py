"""Weights in files: each format gives back what it promises, in fewer bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metainr_core.config import WEIGHTS, SirenConfig
from metainr_core.errors import ArchiveError, MetaINRError
from metainr_core.hashing import fingerprint
from metainr_core.rounding import Rounding, choose_codes
from metainr_core.siren import Siren, initialize, zeros
from metainr_core.storage import save_tensors
from metainr_core.tensor_file import TensorFile
from metainr_core.weights import as_stored, digest, pack, unpack

CONFIG = SirenConfig(16, 2, 10.0)


def networks(count: int = 3, seed: int = 0) -> Siren:
    return initialize(CONFIG, count, 2, torch.Generator().manual_seed(seed))


def rounded(siren: Siren, reference: Siren | None = None) -> tuple[Siren, Tensor]:
    """Networks on their grid, and its codes."""
    codes = choose_codes(siren, torch.full((siren.networks,), 1e-4))
    grid = Rounding.of(reference or siren.map(torch.zeros_like), codes)
    return siren.view(grid.round(siren.flat())), codes


def read(path: Path, weights: str, reference: Siren | None = None) -> Siren:
    return unpack(TensorFile.read(path), weights, CONFIG, 2, 3, reference)


def save(
    path: Path, siren: Siren, weights: str, reference: Siren | None, codes: Tensor | None
) -> int:
    return len(save_tensors(path, pack(siren, weights, reference, codes), {}))


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_weights_come_back_to_the_bit(tmp_path: Path, weights: str, near: bool) -> None:
    path = tmp_path / "a.safetensors"
    reference = networks(seed=1) if near else None
    siren, codes = rounded(networks(), reference)
    save(path, siren, weights, reference, codes if weights == "coded" else None)
    found = read(path, weights, reference)
    assert found.omega_0 == 10.0
    for tensor, wanted in zip(found.tensors, as_stored(siren, weights).tensors, strict=True):
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, wanted)


def test_stored_weights_are_near_the_fitted() -> None:
    siren = networks()
    for weights, error in (("float32", 0.0), ("coded", 0.0), ("float16", 2.0**-11)):
        for tensor, stored in zip(siren.tensors, as_stored(siren, weights).tensors, strict=True):
            torch.testing.assert_close(stored, tensor, rtol=error, atol=1e-7 if error else 0)
    again = as_stored(as_stored(siren, "float16"), "float16")
    assert torch.equal(again.flat(), as_stored(siren, "float16").flat())


def test_every_format_is_smaller_than_the_last(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    reference = networks(seed=1)
    close = reference.map(lambda t: t * 1.003)
    sizes = [save(path, close, weights, None, None) for weights in ("float32", "float16")]
    for base in (None, reference):
        siren, codes = rounded(close, base)
        sizes.append(save(path, siren, "coded", base, codes))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    header = sizes[0] - close.bytes
    assert sizes[1] == pytest.approx(header + close.bytes / 2, abs=100)
    assert sizes[2] < 0.75 * sizes[1]
    assert sizes[3] < 0.4 * sizes[2]


def test_another_reference_gives_other_weights(tmp_path: Path) -> None:
    """Nothing in the tensors tells: the step's digest has to (``archive``)."""
    path = tmp_path / "a.safetensors"
    reference = networks(seed=1)
    siren, codes = rounded(networks(), reference)
    save(path, siren, "coded", reference, codes)
    for other in (None, networks(seed=2)):
        assert not torch.equal(read(path, "coded", other).flat(), siren.flat())


def test_a_reference_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    reference, kept = networks(seed=1), networks(seed=1).flat()
    siren, codes = rounded(networks(), reference)
    before = siren.flat()
    save(path, siren, "coded", reference, codes)
    read(path, "coded", reference).tensors[0].zero_()
    assert torch.equal(reference.flat(), kept)
    assert torch.equal(siren.flat(), before)


@pytest.mark.parametrize("wanted", WEIGHTS)
@pytest.mark.parametrize("stored", WEIGHTS)
def test_another_format_is_refused(tmp_path: Path, stored: str, wanted: str) -> None:
    path = tmp_path / "a.safetensors"
    siren, codes = rounded(networks())
    save(path, siren, stored, None, codes)
    if stored == wanted:
        assert read(path, wanted).networks == 3
        return
    with pytest.raises(MetaINRError, match=r"a\.safetensors: tensor (code|weight_0) is") as error:
        read(path, wanted)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("networks_wanted", [1, 2, 4])
def test_another_number_of_networks_is_refused(tmp_path: Path, networks_wanted: int) -> None:
    path = tmp_path / "a.safetensors"
    siren, codes = rounded(networks())
    save(path, siren, "coded", None, codes)
    with pytest.raises(ArchiveError, match=r"a\.safetensors: coded weights are damaged"):
        unpack(TensorFile.read(path), "coded", CONFIG, 2, networks_wanted)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 100, b"\xff" * 100])
def test_damaged_code_names_the_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    tensor = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    save_tensors(path, {"code": tensor}, {})
    with pytest.raises(ArchiveError, match=r"a\.safetensors: coded weights are damaged") as error:
        read(path, "coded")
    assert "\n" not in str(error.value)


def test_a_digest_depends_on_weights_and_description() -> None:
    siren, description = networks(), {"header": 1, "info": 2, "record": 3, "digest": "old"}
    known = digest(description, siren)
    assert digest({**description, "digest": "new", "kind": "step"}, siren.clone()) == known
    for name in ("header", "info", "record"):
        assert digest({**description, name: 4}, siren) != known
    moved = siren.view(siren.flat() + 1e-7)
    assert digest(description, moved) != known
    # As files of formats 1 and 2 have it.
    assert known == fingerprint(1, 2, 3, *(t.numpy() for t in siren.tensors))


def test_zeros_are_what_coded_weights_are_differences_to() -> None:
    siren = zeros(CONFIG, 3, 2)
    assert [t.shape for t in siren.tensors] == [t.shape for t in networks().tensors]
    assert not siren.flat().any()
    assert siren.omega_0 == 10.0
