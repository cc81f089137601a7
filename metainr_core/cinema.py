"""The table ``data.csv`` of a Cinema database: what files hold, by parameters.

Cinema Spec D (https://cinemascience.github.io): a header, and a row for each combination of
parameters; columns whose name begins with FILE name files, relative to the table's folder.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

from .errors import SeriesError
from .regular_file import open_regular

# A cell of three bytes takes sixty, and each of the rows is the beginning of a series.
_LONGEST = 8 << 20
_MOST_COLUMNS = 1000
_MOST_ROWS = 50_000
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# A parameter without a value.
_UNDEFINED = ("", "nan")


@dataclass(frozen=True)
class Row:
    """``file``: what the first FILE column holds; ``parameters``: texts of the columns that are
    no FILE columns, without undefined ones; ``line``: of the table, from 1 on."""

    line: int
    parameters: Mapping[str, str]
    file: str


def find_table(path: Path) -> Path:
    """The table of a ``.cdb`` folder, or the file itself. Raises SeriesError."""
    if not os.path.isdir(path):
        return path
    table = path / "data.csv"
    if not os.path.isfile(table):
        raise SeriesError(f"folder {path} has no data.csv, which a Cinema database has")
    return table


def read_table(path: Path) -> list[Row]:
    """The rows of a table, at least one. Raises SeriesError."""
    lines = _lines(path)
    try:
        _, header = next(lines)
    except StopIteration:
        raise SeriesError(f"{path} is empty; expected a header and rows") from None
    files = [name for name in header if name.startswith("FILE")]
    if not files:
        raise SeriesError(
            f"{path} has no column FILE; its columns: {', '.join(header)}; a column whose name"
            " begins with FILE has to name the data"
        )
    if len(header) > _MOST_COLUMNS:
        raise SeriesError(f"{path} has {len(header)} columns; expected at most {_MOST_COLUMNS}")
    repeated = [name for name, count in Counter(header).items() if count > 1 or not name]
    if repeated:
        what = f"two columns {repeated[0]}" if repeated[0] else "a column without a name"
        raise SeriesError(f"{path} has {what}: {', '.join(header)}")
    rows = [_row(path, line, header, cells, files[0]) for line, cells in islice(lines, _MOST_ROWS)]
    if next(lines, None):
        raise SeriesError(f"{path} has more than {_MOST_ROWS} rows, which is all that is read")
    if not rows:
        raise SeriesError(f"{path} has no row after its header; expected one for each run")
    return rows


def number(text: str) -> float | None:
    """The finite number that a cell holds; None for other texts."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") and "_" not in text else None


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells, without empty lines."""
    try:
        # Quoted cells may hold line breaks; Excel begins its files with a byte order mark.
        with open_regular(path) as raw:
            if (size := raw.seek(0, 2)) > _LONGEST:
                raise SeriesError(f"{path} has {size} bytes; expected at most {_LONGEST}")
            raw.seek(0)
            file = TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except OSError as error:
        raise SeriesError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SeriesError(f"{path} is no CSV file: {error}; expected text as UTF-8") from error
    except csv.Error as error:
        raise SeriesError(f"{path}, line {reader.line_num}: {error}; expected CSV") from error


def _row(path: Path, line: int, header: list[str], cells: list[str], column: str) -> Row:
    where = f"{path}, line {line}"
    if len(cells) != len(header):
        raise SeriesError(
            f"{where} has {len(cells)} cells; the header has {len(header)} columns"
            f" ({', '.join(header)})"
        )
    pairs = dict(zip(header, cells, strict=True))
    file = pairs[column]
    if not file:
        raise SeriesError(f"{where}: its column {column} names no file")
    if _URL.match(file):
        raise SeriesError(f"{where}: {column} is {file}; expected a path: fetch the data first")
    parameters = {
        name: text
        for name, text in pairs.items()
        if not name.startswith("FILE") and text.lower() not in _UNDEFINED
    }
    return Row(line, parameters, file)
