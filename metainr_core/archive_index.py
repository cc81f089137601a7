"""An archive's index, ``run.minr``: JSON that people can read, one line for each step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .bounded_json import check_json, parse_json
from .errors import DAMAGE, ArchiveError, MetaINRError
from .layout import BrickLayout
from .records import Header, StepRecord
from .regular_file import open_regular
from .step_files import FORMAT_VERSION, check_version
from .writing import check_name

_MOST_BYTES = 1 << 27
_DEEPEST = 32


def checked(path: str | Path) -> Path:
    """Raises ArchiveError when that cannot be an index's name."""
    path = Path(path)
    if path.suffix != ".minr":
        raise ArchiveError(f"{path}: an archive's name ends in .minr")
    check_name(path)
    return path


def check_folder(path: Path) -> None:
    """Raises ArchiveError when the archive's folder is a link that leads elsewhere.

    It may lead to what lies beside the file that ``path`` itself is a link to.
    """
    folder = path.with_suffix("")
    if folder.is_symlink() and folder.resolve() != path.resolve().with_suffix(""):
        raise ArchiveError(
            f"{folder} is a symbolic link to {folder.resolve()}, and an archive reads and writes"
            f" nothing outside of its folder; open {path.name} where it lies"
        )


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
    data = text.encode()
    try:
        check_json(data)
    except ValueError as error:
        raise ArchiveError(f"the index of so many steps cannot be read again: {error}") from error
    return data


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def read_index(path: Path) -> tuple[Header, dict[int, StepRecord], dict[str, Any]]:
    """What the file says, to be used within ``reading``."""
    with open_regular(path) as file:
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ArchiveError(f"{path} has more than {_MOST_BYTES} bytes, which no index has")
    # Of another kind, and not to be deleted as one that is damaged.
    data = parse_json(text) if text.lstrip()[:1] in (b"{", b"") else None
    if not isinstance(data, dict) or data.get("format") != "minr":
        raise ArchiveError(
            f"{path} is no .minr archive; choose a file that Meta-INR Encode, File > Save"
            " Data or metainr encode wrote"
        )
    check_version(path, data)
    header = Header.from_json(data)
    records = [StepRecord.from_json(row) for row in data["steps"]]
    by_step = {record.step: record for record in records}
    if len(by_step) < len(records):
        raise ValueError("it has a step twice")
    return header, by_step, checked_info(data["info"])


def checked_info(info: Any) -> dict[str, Any]:
    """What an archive says of its series. Raises one of DAMAGE when that is no such thing."""
    _check_plain(info, _DEEPEST)
    for name in ("encode", "prior"):
        if not isinstance(info.get(name) or {}, dict):
            raise ValueError(f"its {name} is {info[name]!r}")
    for name in ("target_psnr", "target_ratio", "max_error"):
        float(info.get("encode", {}).get(name, 0.0))
    if not 0 <= int(info.get("series_steps", 0)) < 2**31:
        raise ValueError(f"series_steps is {info['series_steps']}")
    return dict(info)


def _check_plain(value: object, depth: int) -> None:
    """Raises ValueError where an index could not hold the value."""
    if depth == 0:
        raise ValueError("its description is nested too deeply")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"its description has the number {value}")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            _check_plain(entry, depth - 1)


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
        what = str(error) if isinstance(error, json.JSONDecodeError) else f"{error!r:.300}"
        raise ArchiveError(
            f"{path} is damaged ({what}); if its folder is intact, delete this file alone"
            " and open it again: it is rebuilt from its steps"
        ) from error
