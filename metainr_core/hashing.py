"""Fingerprints of settings and data, and of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from .regular_file import open_regular

_BLOCK = 1 << 22


def fingerprint(*parts: object) -> str:
    """sha256 (hex) over arrays (shape, dtype, bytes) and JSON-able values, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype.str}".encode())
            # In parts, as what does not lie together is copied.
            rows = max(1, _BLOCK // max(1, part[:1].nbytes)) if part.ndim else 1
            whole = part.flags.c_contiguous
            for block in [part] if whole else np.split(part, range(rows, len(part), rows)):
                digest.update(np.ascontiguousarray(block).data)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    """Of a regular file. Raises OSError."""
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
