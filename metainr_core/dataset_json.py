"""Series in the layout of the published Meta-INR code: ``dataset.json`` beside ``.raw`` files.

``dataset.json`` has ``name``, ``dims`` [x, y, z], ``vars`` and ``total_samples``; the volumes are
``VAR/NAME-VAR-1.raw`` and so on, little-endian float32, x fastest.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import DAMAGE, SeriesError
from .grid import Grid
from .memory import free_memory
from .regular_file import open_regular
from .series import Series

# Bytes of a dataset.json; it names a few variables.
_LONGEST = 1 << 20


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
            with open_regular(path) as file:
                size = file.seek(0, 2)
                if size != expected:
                    raise SeriesError(
                        f"{self.where(step)}: {path} has {size} bytes; dims {self.grid.dims} need"
                        f" {expected} (float32)"
                    )
                # A file may have holes: as long as a disk, but never written.
                if expected > (free := free_memory()):
                    raise SeriesError(
                        f"{self.where(step)}: {path} needs {expected} bytes; {free} are free"
                    )
                file.seek(0)
                values = np.fromfile(file, "<f4", self.grid.voxels)
            return values.reshape(*self.grid.shape, 1)
        except (OSError, ValueError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SeriesError(f"{path} cannot be read: {reason}") from error


def open_dataset_json(
    path: Path, variable: str | None = None, *, ignore_nonfinite: bool = False
) -> RawSeries:
    """The series of one variable (None: the only one) of a folder with ``dataset.json``.

    Its volumes are in the folder of that variable's name, and nowhere else. Raises SeriesError.
    """
    index = path / "dataset.json" if os.path.isdir(path) else path
    try:
        with open_regular(index) as file:
            data = json.loads(_whole(file))
        name, variables = _text(data["name"]), [_folder_name(v) for v in data["vars"]]
        x, y, z = (_count(n) for n in data["dims"])
        samples = _count(data["total_samples"])
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
    numbered = _numbered_files(index.parent / variable)
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


def _numbered_files(folder: Path) -> dict[int, Path]:
    """The ``.raw`` files of a variable by the numbers that their names end with."""
    try:
        found = [f for f in folder.iterdir() if f.suffix == ".raw"]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SeriesError(f"{folder} cannot be read: {error.strerror or error}") from error
    return {int(m[1]): f for f in found if (m := re.search(r"-(\d+)\.raw$", f.name))}


def _whole(file: BinaryIO) -> bytes:
    text = file.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST} bytes")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    value.encode()  # JSON can hold halves of characters, files' names cannot
    return value


def _folder_name(value: object) -> str:
    """The name of a variable, which is that of its folder."""
    name = _text(value)
    if name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise ValueError(f"variable {name!r} is no name of a folder beside it")
    return name


def _count(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise ValueError(f"{value!r} is no number of values or samples")
    return value
