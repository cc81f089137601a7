"""``metainr verify``: whether an archive is what it says."""

from __future__ import annotations

import argparse
from typing import Any

from .errors import SettingsError
from .flags import parse_steps
from .series import Progress, open_series

DESCRIPTION = "Check every figure that an archive records, with SERIES also its errors."


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="RUN.minr")
    parser.add_argument(
        "series",
        nargs="?",
        metavar="SERIES",
        help="what the archive was made from, to compute its errors again",
    )
    parser.add_argument("--array", help="of SERIES (default: the archive's)")
    parser.add_argument(
        "--ignore-nonfinite", action="store_true", help="as when the archive was made"
    )
    parser.add_argument("--steps", help="which steps, as 0:10:2 or 3,5,8 (default: all)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def run(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .archive import Archive
    from .verify import verify

    archive = Archive.open(options.archive)
    series = None
    if options.series:
        array = options.array or archive.array
        series = open_series(options.series, array, ignore_nonfinite=options.ignore_nonfinite)
    elif options.array or options.ignore_nonfinite:
        raise SettingsError("--array and --ignore-nonfinite are of SERIES, which is not given")
    # Also those whose files are gone.
    last = max([*archive.steps, *archive.missing], default=-1)
    steps = parse_steps(options.steps, last + 1)
    found = verify(options.archive, series, steps=steps, device=options.device, progress=progress)
    count = len(found.steps)
    exact = sum(step.off == 0 for step in found.steps)
    return {
        "archive": options.archive,
        "series": options.series,
        "ok": not found.findings,
        "verified": f"{count} steps",
        **({"errors": f"the same to the last digit in {exact} of {count} steps"} if series else {}),
        "differs": [str(finding) for finding in found.findings],
        "steps": [
            {
                "step": step.step,
                "time": step.time,
                **({"member": step.member} if step.member else {}),
                "psnr": step.psnr,
                "psnr_series": step.psnr_series,
                "max_error": step.max_error,
                "off": step.off,
                "differs": [
                    {"what": f.what, "recorded": f.recorded, "found": f.found}
                    for f in step.findings
                ],
            }
            for step in found.steps
        ],
    }


def rows_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per step for the terminal."""
    rows = []
    for step in report["steps"]:
        row = {name: value for name, value in step.items() if name != "differs"}
        if report["series"] is None:
            row = {name: row[name] for name in ("step", "time", "member") if name in row}
        names = list(dict.fromkeys(entry["what"] for entry in step["differs"]))
        rows.append({**row, "result": ", ".join(names) or "ok"})
    return rows
