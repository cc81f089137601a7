"""``metainr project``: a map of an archive's steps, and steps that represent them."""

from __future__ import annotations

import argparse
import csv
import io
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .flags import parse_steps
from .projection import METHODS, Projection, project
from .report import warn_of_missing
from .series import Progress

_HEADER = b"step,time,member,"  # of every map
DESCRIPTION = "Map the steps of an archive by their weights, and select representative ones."


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="RUN.minr")
    parser.add_argument("-o", "--output", required=True, metavar="MAP.csv")
    parser.add_argument("--png", metavar="MAP.png", help="draw the map too")
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="tsne",
        help="tsne keeps neighbours together, pca large distances (default: tsne)",
    )
    parser.add_argument(
        "--perplexity",
        type=float,
        default=0.0,
        metavar="X",
        help="of tsne: about how many neighbours a step has (default: 0, a third of the others,"
        " at most 30)",
    )
    parser.add_argument("--steps", help="which steps, as 0:10:2 or 3,5,8 (default: all)")
    parser.add_argument(
        "--select",
        type=int,
        metavar="N",
        help="choose N representative steps of each member along its path on the map",
    )
    parser.add_argument(
        "--color",
        default="time",
        metavar="time|PARAMETER",
        help="of the PNG: colour by time or by a parameter of the members (default: time)",
    )


def run(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .archive import Archive
    from .figures import color_values, map_png, new_figure
    from .selection import select_steps
    from .writing import check_writable, write_atomically

    table = _named(options.output, ".csv")
    picture = _named(options.png, ".png") if options.png else None
    if options.color != "time" and not picture:
        raise SettingsError("--color is of the picture, and --png is not given; add it")
    if options.perplexity and options.method == "pca":
        raise SettingsError("--perplexity is of t-SNE, and --method is pca; leave one out")
    _check_map(table)
    archive = Archive.open(options.archive)
    warn_of_missing(archive)
    steps = parse_steps(options.steps, archive.steps[-1] + 1 if archive.steps else 0)
    # What cannot be shows before the work.
    outline = Projection.outline(archive, steps)
    if options.select is not None:
        select_steps(outline, options.select)
    if picture:
        new_figure((1, 1))
        color_values(outline, options.color)
    for path in filter(None, (table, picture)):
        check_writable(path)
    found = project(
        archive, options.method, perplexity=options.perplexity, steps=steps, progress=progress
    )
    selected = [] if options.select is None else select_steps(found, options.select)
    png = map_png(found, selected, options.color) if picture else b""
    columns = found.columns(selected)
    write_atomically(table, _csv(columns))
    if picture:
        write_atomically(picture, png)
    report = {
        "archive": str(archive.path),
        "map": str(table),
        "picture": str(picture) if picture else None,
        "method": found.method,
        "perplexity": found.perplexity or None,
        "explained_variance": list(found.explained_variance) or None,
        "members": [m.name for m in found.members if m.name] or None,
        "selected": selected or None,
        "to_decode": _to_decode(archive.path, found, selected) or None,
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {
        **{name: value for name, value in report.items() if value is not None},
        "steps": [{name: _finite(value) for name, value in row.items()} for row in rows],
    }


def rows_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The selected steps, or all of them, for the terminal."""
    rows = report["steps"]
    return [row for row in rows if row["selected"] or "selected" not in report]


def _to_decode(path: Path, found: Projection, selected: Sequence[int]) -> list[str]:
    """The command that decodes the selected steps, for each member."""
    commands = []
    for member in found.members if selected else []:
        steps = ",".join(str(step) for step in selected if step in member.steps)
        whose = f" --member {shlex.quote(member.name)}" if member.name else ""
        commands.append(
            f"metainr decode {shlex.quote(str(path))}{whose} --steps {steps} -o OUT.pvd"
        )
    return commands


def _named(name: str, suffix: str) -> Path:
    path = Path(name)
    if path.suffix != suffix:
        raise SettingsError(f"{name}: expected a name that ends in {suffix}")
    return path


def _check_map(path: Path) -> None:
    """Refuses to replace a table that is no map, such as an ensemble's. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_HEADER))
    except OSError:
        return  # there is none; what cannot be written is told elsewhere
    if start != _HEADER:
        raise SettingsError(f"{path} exists and is no map of metainr project; choose another name")


def _csv(columns: dict[str, list[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN: a parameter that a member does not have is null."""
    return None if isinstance(value, float) and math.isnan(value) else value
