"""JSON that strangers may have written, parsed within bounds."""

from __future__ import annotations

import json
from typing import Any

# Of what parsing makes. A value takes up to about 100 bytes: 40,000 steps fit into an index.
_MOST = 130_000_000
_VALUE = 105


def parse_json(text: bytes) -> Any:
    """The value, in at most about 130 MB. Raises ValueError, RecursionError."""
    check_json(text)
    return json.loads(text)


def check_json(text: bytes) -> None:
    """Raises ValueError where ``parse_json`` would not take the text for its size."""
    values = sum(text.count(sign) for sign in (b",", b"[", b"{"))
    # One character that is not ASCII makes all of a text four times as large.
    if _VALUE * values + len(text) * (1 if text.isascii() else 8) > _MOST:
        raise ValueError(f"{values} values in {len(text)} bytes are more than can be read")
