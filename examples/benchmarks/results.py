"""What was measured so far, in one JSON file that every finished piece is added to."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class Results:
    """``results.json`` in a folder: per part its machine and its rows.

    A part measured again replaces what the file had of it, and leaves the others; of curves, one
    series replaces itself.
    """

    def __init__(self, folder: Path, name: str = "results.json"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / name
        self.data: dict[str, Any] = {}
        if self.path.exists():
            self.data = json.loads(self.path.read_text())

    def begin(self, part: str, machine: dict[str, Any], quick: bool, **more: Any) -> dict[str, Any]:
        """An empty part, written; the caller adds to it and calls ``save``.

        ``part`` is ``name`` or ``curve/series``.
        """
        outer, _, inner = part.partition("/")
        entry = {"machine": machine, "quick": quick, "rows": [], **more}
        if inner:
            self.data.setdefault(outer, {})[inner] = entry
        else:
            self.data[outer] = entry
        self.save()
        return entry

    def save(self) -> None:
        """Atomically: an interrupted run keeps what is finished."""
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(_finite(self.data), indent=1, allow_nan=False) + "\n")
        os.replace(partial, self.path)


def series_name(text: str) -> str:
    """What a report calls a series: the file's or folder's own name, no path."""
    path = Path(text)
    stem = path.parent.name if path.name == "dataset.json" else path.stem
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in stem) or "series"


def _finite(value: Any) -> Any:
    """With null for what JSON cannot say."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
