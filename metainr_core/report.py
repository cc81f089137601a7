"""What the ``metainr`` command says of its results, for people and as JSON."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MetaINRWarning, SettingsError, one_line
from .members import is_ensemble, member_of
from .records import StepRecord, step_names
from .series import Progress, no_progress

if TYPE_CHECKING:
    from .archive import Archive


def encoded(archive: Archive, damaged: Sequence[int] = ()) -> str:
    """How much of the series the archive holds, and which files are of no use."""
    text = f"{len(archive.steps)} of {archive.info.get('series_steps', '?')} steps"
    for steps, what in ((archive.missing, "missing"), (damaged, "damaged; encode them again")):
        if steps:
            text += f"; the files of {', '.join(map(str, steps))} are {what}"
    return text


def goals(archive: Archive) -> dict[str, dict[str, float | None]]:
    """What the settings asked of the archive, and what it reached: in its worst step, of errors.

    None where a PSNR is infinite.
    """
    records, settings = archive.records, archive.info.get("encode", {})
    if not records:
        return {}
    psnr = min(r.psnr_series for r in records)
    reached = {
        "target_psnr": psnr if math.isfinite(psnr) else None,
        "target_ratio": archive.ratio,
        "max_error": max(r.max_error for r in records),
    }
    asked = {name: settings.get(name, 0.0) for name in reached}
    return {n: {"asked": v, "reached": reached[n]} for n, v in asked.items() if v}


def warn_of_misses(archive: Archive, steps: Collection[int] | None = None) -> None:
    """One MetaINRWarning for each goal that the archive, or one of ``steps``, falls short of.

    To be called once everything is encoded: the more steps, the less the prior weighs.
    """
    asked = {name: goal["asked"] or 0.0 for name, goal in goals(archive).items()}
    own = [r for r in archive.records if steps is None or r.step in steps]
    if (target := asked.get("target_psnr")) is not None:
        below = [r.step for r in own if r.psnr_series < target]
        if below:
            verb = "misses" if len(below) == 1 else "miss"
            text = f"{step_names(below)} {verb} the target of {target:g} dB"
            cure = "more epochs or a wider network reach more"
            warnings.warn(f"{archive.path}: {text}; {cure}", MetaINRWarning, stacklevel=2)
    if (target := asked.get("target_ratio")) is not None and archive.ratio < target:
        text = f"target_ratio is {target:g}, and the archive reaches {archive.ratio:.5g}"
        coded = all(r.weights == "coded" for r in archive.records)
        cure = "a smaller network reaches more" if coded else "coded weights reach more"
        warnings.warn(f"{archive.path}: {text}; {cure}", MetaINRWarning, stacklevel=2)


def warn_of_missing(archive: Archive) -> None:
    """One MetaINRWarning when files of steps are gone that the index names."""
    if archive.missing:
        text = f"{archive.path}: the files of {step_names(archive.missing)} are missing"
        warnings.warn(f"{text}; left out", MetaINRWarning, stacklevel=2)


def archive_report(archive: Archive, progress: Progress = no_progress) -> dict[str, Any]:
    """What ``encode`` and ``info`` tell of an archive, JSON-able."""
    records, members = archive.records, archive.members
    damaged = archive.damaged(progress)
    good = [r for r in records if r.step not in damaged]
    rows = [r.to_json() for r in records]
    runs = []
    if is_ensemble(members):
        rows = [{**row, "member": member_of(members, row["step"]).name} for row in rows]
        for member in members:
            own = [r for r in good if r.step in member.steps]
            figures = {"encoded": len(own), "mean_psnr_series": _mean_psnr(own)}
            runs.append({**member.to_json(), **figures})
    return {
        "archive": str(archive.path),
        "array": archive.array,
        "components": archive.components,
        "association": archive.grid.association,
        "dims": list(archive.grid.dims),
        "network": archive.header.siren.to_json(),
        "bricks": archive.layout.bricks,
        "encoded": encoded(archive, damaged),
        "damaged": damaged,
        "mean_psnr_series": _mean_psnr(good),
        "weights": sorted({r.weights for r in records}),
        "bytes": archive.total_bytes,
        "ratio": archive.ratio,
        **goals(archive),
        **({"members": runs} if runs else {}),
        "steps": rows,
    }


def _mean_psnr(records: Sequence[StepRecord]) -> float | None:
    """Over the series' range, without steps that are exact."""
    finite = [r.psnr_series for r in records if math.isfinite(r.psnr_series)]
    return sum(finite) / len(finite) if finite else None


_COLUMNS = ("step", "time", "psnr", "psnr_series", "max_error", "ratio", "bytes", "seconds")


def step_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What is shown of each encoded step; of other reports nothing."""
    steps = [step for step in report.get("steps", []) if isinstance(step, dict)]
    columns = (*_COLUMNS, *(["member"] if steps and "member" in steps[0] else []))
    return [shown_psnr({c: step[c] for c in columns}, step["max_error"] == 0) for step in steps]


def shown_psnr(row: dict[str, Any], exact: bool) -> dict[str, Any]:
    """The row with words for a PSNR that JSON has no number for."""
    return {name: "exact" if value is None and exact else value for name, value in row.items()}


def check_json_file(json_file: str | None, outputs: Collection[str]) -> None:
    """Before the work: refuses to replace what is no report, or one of the command's other
    ``outputs``. Raises SettingsError."""
    if json_file in (None, "-"):
        return
    path = Path(str(json_file))
    if path.absolute() in [Path(name).absolute() for name in outputs]:
        raise SettingsError(f"--json {json_file}: the results go there too; choose another name")
    if not os.path.lexists(path):
        return
    data = path.suffix == ".minr" or path.name == "dataset.json"
    if data or not path.is_file() or path.read_bytes()[:1] != b"{":
        raise SettingsError(
            f"--json {json_file}: it exists and is no report of metainr; choose another name"
        )


def print_report(
    report: dict[str, Any],
    json_file: str | None,
    table: Callable[[dict[str, Any]], list[dict[str, Any]]] = step_rows,
) -> None:
    """As text, which ``json_file`` adds a file to; or only as JSON, if that is ``-``.

    ``table``: the rows that stand for ``report["steps"]``, alike in their columns.
    """
    if json_file == "-":
        print(json.dumps(report, indent=1))
        return
    if json_file:
        from .writing import write_atomically

        write_atomically(Path(json_file), json.dumps(report, indent=1).encode())
    rows = table(report)
    for name, value in report.items():
        if name == "steps":
            continue
        entries = value if name in ("members", "to_decode") else [value]
        for title, entry in zip([name, *[""] * len(entries)], entries, strict=False):
            print(f"{title:17s} {_shown(entry)}")
    if rows:
        widths = {name: max(11, len(name)) for name in rows[0]}
        print(" ".join(f"{name:>{width}s}" for name, width in widths.items()))
    for row in rows:
        print(" ".join(f"{_shown(row[name]):>{width}s}" for name, width in widths.items()))


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return one_line(str(value))
