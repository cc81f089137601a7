"""Fingerprints change with what they stand for, and with nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from metainr_core.hashing import file_sha256, fingerprint


def test_equal_things_have_equal_fingerprints() -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    assert fingerprint(values) == fingerprint(values.copy())
    assert fingerprint(values[:, ::2]) == fingerprint(values[:, ::2].copy())
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_different_things_have_different_fingerprints() -> None:
    values = np.arange(6, dtype=np.float32)
    changed = values.copy()
    changed[-1] = np.nextafter(changed[-1], np.float32(9))
    found = [
        fingerprint(),
        fingerprint(values),
        fingerprint(values.reshape(2, 3)),
        fingerprint(values.astype(np.float64)),
        fingerprint(values.view(np.int32)),
        fingerprint(changed),
        fingerprint(values, 1),
        fingerprint(1, values),
        fingerprint(11),
        fingerprint(1, 1),
        fingerprint("1", 1),
    ]
    assert len(set(found)) == len(found)


def test_a_file_has_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(data)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()
