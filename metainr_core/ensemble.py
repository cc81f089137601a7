"""Ensembles: the series of several runs, one after the other, as one series."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .cinema import Row, find_table, number, read_table
from .errors import SeriesError
from .members import Member, member_of
from .series import Series, check_grid, open_series

# Of .vti files, what tells the steps of one run apart; in this order of preference.
_TIME_COLUMNS = ("time", "timestep")
# Each is opened, which takes time, whatever a small table says.
_MOST_RUNS = 5000
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Run:
    """One run of an ensemble: its series, and what it was made with (numbers or texts)."""

    name: str
    series: Series
    parameters: Mapping[str, float | str] = field(default_factory=dict)


class EnsembleSeries(Series):
    """The series of several runs, one after the other: same array, components and grid."""

    def __init__(self, runs: Sequence[Run], name: str = "the ensemble"):
        """Raises SeriesError when there is no run, or two do not fit together."""
        if not runs:
            raise SeriesError(f"{name} has no members")
        self._runs: dict[int, Run] = {}  # by their first step
        self._members: list[Member] = []
        self._names: set[str] = set()
        first = runs[0].series
        for run in runs:
            self._check(run, first, name)
            self._names.add(run.name)
            before = self._members[-1].steps.stop if self._members else 0
            self._runs[before] = run
            self._members.append(Member(run.name, before, len(run.series), dict(run.parameters)))
        times = [time for run in runs for time in run.series.times]
        super().__init__(name, first.grid, first.array, first.components, times)

    def _check(self, run: Run, first: Series, name: str) -> None:
        where = f'member "{run.name}" of {name}'
        if not run.name:
            raise SeriesError(f"a member of {name} has no name; each needs one of its own")
        if run.name in self._names:
            raise SeriesError(f'{name} has two members "{run.name}"; each needs a name of its own')
        found, expected = run.series, first
        for what in ("array", "components"):
            a, b = getattr(found, what), getattr(expected, what)
            if a != b:
                raise SeriesError(
                    f"{where}: its {what} is {a!r}, the first member's {b!r}; all need the same"
                )
        if found.grid.association != expected.grid.association:
            raise SeriesError(
                f'{where}: its array "{found.array}" has {found.grid.association} values, the'
                f" first member's {expected.grid.association} values; all need the same"
            )
        check_grid(found.grid, expected.grid, where)

    @property
    def members(self) -> list[Member]:
        return list(self._members)

    def where(self, step: int) -> str:
        run, own = self._find(step)
        return f'member "{run.name}", {run.series.where(own)}'

    def _find(self, step: int) -> tuple[Run, int]:
        """The run that a step is of, and the step's number there."""
        member = member_of(self._members, step)
        return self._runs[member.first], step - member.first

    def _load(self, step: int) -> np.ndarray:
        run, own = self._find(step)
        try:
            return run.series.read(own)
        except SeriesError as error:
            raise SeriesError(f'member "{run.name}", {error}') from error


def open_ensemble(
    path: str | Path, array: str | None = None, *, ignore_nonfinite: bool = False
) -> EnsembleSeries:
    """The ensemble of a ``data.csv`` of Cinema Spec D, or of a ``.cdb`` folder that holds one.

    The first column whose name begins with FILE names the series of a run, relative to the
    folder: whatever ``open_series`` takes, wherever it is, with wildcards in the name of the file
    only. Rows with one ``.vti`` each that agree in all but a
    column ``time`` or ``timestep`` are one run with those times. A column ``name`` names the
    runs, else their parameters do ("Re 160"), which are all other columns. Raises SeriesError.
    """
    table = find_table(Path(path))
    runs: list[Run] = []
    lines: dict[str, int] = {}
    groups = _grouped(table, read_table(table))
    if len(groups) > _MOST_RUNS:
        raise SeriesError(f"{table} has more than {_MOST_RUNS} members; split it")
    for rows in groups:
        line, times = rows[0].line, _times(table, rows)
        name, parameters = _identity(rows[0], bool(times))
        if name in lines:
            raise SeriesError(
                f'{table}, lines {lines[name]} and {line} are both of a member "{name}"; a column'
                " name or time, or another parameter, has to tell them apart"
            )
        lines[name] = line
        try:
            series = _open(table, rows, times, array, ignore_nonfinite)
        except SeriesError as error:
            raise SeriesError(f'{table}, line {line}, member "{name}": {error}') from error
        runs.append(Run(name, series, parameters))
    return EnsembleSeries(runs, str(table))


def _grouped(table: Path, rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each run."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        key: object = row.line
        if _times(table, [row]):
            key = tuple(pair for pair in row.parameters.items() if not _tells_time(pair[0]))
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _tells_time(column: str) -> bool:
    return column.lower() in _TIME_COLUMNS


def _times(table: Path, rows: Sequence[Row]) -> list[float]:
    """The times of rows with one ``.vti`` each; none where the series itself has times."""
    times = []
    for row in rows:
        columns = {name.lower(): text for name, text in row.parameters.items()}
        column = next((c for c in _TIME_COLUMNS if c in columns), None)
        several = glob.has_magic(row.file) and not os.path.isfile(table.parent / row.file)
        if column is None or several or not row.file.endswith(".vti"):
            continue
        time = number(columns[column])
        if time is None:
            raise SeriesError(
                f"{table}, line {row.line}: {column} is {columns[column]!r}; expected a number"
            )
        times.append(time)
    return times


def _identity(row: Row, timed: bool) -> tuple[str, dict[str, float | str]]:
    """Name and parameters of the run whose first row this is."""
    texts = {k: v for k, v in row.parameters.items() if not (timed and _tells_time(k))}
    names = [texts.pop(column) for column in list(texts) if column.lower() == "name"]
    name = names[0] if names else ", ".join(f"{k} {v}" for k, v in texts.items()) or row.file
    values = {column: number(text) for column, text in texts.items()}
    return name, {c: texts[c] if value is None else value for c, value in values.items()}


def _open(
    table: Path,
    rows: Sequence[Row],
    times: Sequence[float],
    array: str | None,
    ignore_nonfinite: bool,
) -> Series:
    """The series of one run: of its images at ``times``, or of what its only row names."""
    folder, path = table.parent, table.parent / rows[0].file
    if path.suffix == ".vti" and os.path.isfile(path):
        times = times or [0.0]
    if times:
        from .vti import VtiSeries

        images = sorted(zip(times, [folder / row.file for row in rows], strict=True))
        files = [image for _, image in images]
        return VtiSeries(str(table), files, sorted(times), array, ignore_nonfinite=ignore_nonfinite)
    if path.suffix in (".csv", ".cdb"):
        raise SeriesError(f"{path} is an ensemble; expected the series of one run")
    if not os.path.exists(path):
        # In folders' names no character is a wildcard: a table must not search a whole disk.
        # And a pattern longer than any name takes a regular expression long to compile.
        long = len(path.name) > _LONGEST_NAME
        if path.name == "**" or long or not os.path.isdir(path.parent):
            raise SeriesError(f"{path} does not exist")
        path = Path(glob.escape(str(path.parent)), path.name)
    return open_series(path, array, ignore_nonfinite=ignore_nonfinite)
