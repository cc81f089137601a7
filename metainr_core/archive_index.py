"""An archive's index, ``run.minr``: JSON that people can read, one line for each step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import DAMAGE, ArchiveError, MetaINRError
from .layout import BrickLayout
from .records import Header, StepRecord
from .step_files import FORMAT_VERSION, check_version


def checked(path: str | Path) -> Path:
    """Raises ArchiveError when that cannot be an index's name."""
    path = Path(path)
    if path.suffix != ".minr":
        raise ArchiveError(f"{path}: an archive's name ends in .minr")
    return path


def index_bytes(header: Header, info: Mapping[str, Any], records: Iterable[StepRecord]) -> bytes:
    """The file."""
    layout = BrickLayout.of(header.grid.dims, header.siren.brick_size)
    x, y, z = layout.axes
    index = {
        "format": "minr",
        "version": FORMAT_VERSION,
        **header.to_json(),
        "bricks": {
            "shape": layout.brick_shape,
            "starts": {"x": x.starts, "y": y.starts, "z": z.starts},
        },
        "info": info,
        "identity": header.identity,
    }
    entries = [f"{_json(name)}: {_json(value)}" for name, value in index.items()]
    steps = ",\n  ".join(_json(record.to_json()) for record in records)
    text = "{\n " + ",\n ".join([*entries, f'"steps": [\n  {steps}\n ]']) + "\n}\n"
    return text.encode()


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def read_index(path: Path) -> tuple[Header, dict[int, StepRecord], dict[str, Any]]:
    """What the file says, to be used within ``reading``."""
    text = path.read_bytes()
    # Of another kind, and not to be deleted as one that is damaged.
    data = json.loads(text) if text.lstrip()[:1] in (b"{", b"") else None
    if not isinstance(data, dict) or data.get("format") != "minr":
        raise ArchiveError(
            f"{path} is no .minr archive; choose a file that Meta-INR Encode, File > Save"
            " Data or metainr encode wrote"
        )
    check_version(path, data)
    header = Header.from_json(data)
    return header, {int(r["step"]): StepRecord.from_json(r) for r in data["steps"]}, data["info"]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Reports whatever reading an index raises as one ArchiveError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArchiveError(f"{path} does not exist") from error
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror or error}") from error
    except ArchiveError:
        raise
    except (MetaINRError, *DAMAGE) as error:
        what = str(error) if isinstance(error, json.JSONDecodeError) else repr(error)
        raise ArchiveError(
            f"{path} is damaged ({what}); if its folder is intact, delete this file alone"
            " and open it again: it is rebuilt from its steps"
        ) from error
