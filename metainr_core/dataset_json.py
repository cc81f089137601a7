"""Series in the layout of the published Meta-INR code: ``dataset.json`` beside ``.raw`` files.

``dataset.json`` has ``name``, ``dims`` [x, y, z], ``vars`` and ``total_samples``; the volumes are
``VAR/NAME-VAR-1.raw`` and so on, little-endian float32, x fastest.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from .errors import DAMAGE, SeriesError
from .grid import Grid
from .series import Series


class RawSeries(Series):
    """One variable of a ``dataset.json`` folder, read when asked for."""

    def __init__(
        self,
        name: str,
        files: list[Path],
        grid: Grid,
        variable: str,
        *,
        ignore_nonfinite: bool = False,
    ):
        self.files = files
        super().__init__(
            name, grid, variable, 1, range(len(files)), ignore_nonfinite=ignore_nonfinite
        )

    def _load(self, step: int) -> np.ndarray:
        path, expected = self.files[step], self.grid.voxels * 4
        try:
            size = path.stat().st_size
            if size != expected:
                raise SeriesError(
                    f"{self.where(step)}: {path} has {size} bytes; dims {self.grid.dims} need"
                    f" {expected} (float32)"
                )
            return np.fromfile(path, "<f4").reshape(*self.grid.shape, 1)
        except OSError as error:
            raise SeriesError(f"{path} cannot be read: {error.strerror or error}") from error


def open_dataset_json(
    path: Path, variable: str | None = None, *, ignore_nonfinite: bool = False
) -> RawSeries:
    """The series of one variable (None: the only one) of a folder with ``dataset.json``."""
    index = path / "dataset.json" if path.is_dir() else path
    try:
        data = json.loads(index.read_bytes())
        name, variables = str(data["name"]), [str(v) for v in data["vars"]]
        x, y, z = (int(n) for n in data["dims"])
        samples = int(data["total_samples"])
    except FileNotFoundError as error:
        cure = "name a .pvd, or quote a glob such as 'folder/*.vti'"
        raise SeriesError(f"folder {index.parent} has no dataset.json; {cure}") from error
    except OSError as error:
        raise SeriesError(f"{index} cannot be read: {error.strerror or error}") from error
    except DAMAGE as error:
        raise SeriesError(f"{index} is no dataset.json: {error!r}") from error
    if variable is None and len(variables) == 1:
        variable = variables[0]
    if variable not in variables:
        got = f'no variable "{variable}"' if variable else "several variables"
        raise SeriesError(f"{index} has {got}: {', '.join(variables)}; name one with --array")
    pattern = re.compile(r"-(\d+)\.raw$")
    found = (index.parent / variable).glob("*.raw")
    numbered = {int(m[1]): f for f in found if (m := pattern.search(f.name))}
    files = [f for _, f in sorted(numbered.items())]
    if len(files) != samples:
        missing = next((n for n in range(1, samples + 1) if n not in numbered), None)
        example = "" if missing is None else f" ({name}-{variable}-{missing}.raw is missing)"
        raise SeriesError(
            f"{index.parent / variable} has {len(files)} files {name}-{variable}-N.raw;"
            f" dataset.json promises {samples}{example}"
        )
    return RawSeries(
        str(index.parent), files, Grid((x, y, z)), variable, ignore_nonfinite=ignore_nonfinite
    )
