"""``metainr compare``: how good a reconstruction is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .errors import SettingsError
from .flags import add_series_flags, parse_steps, series_from
from .records import step_names
from .report import shown_psnr, warn_of_missing
from .series import Progress, Series, open_series

if TYPE_CHECKING:
    from .archive import Archive

DESCRIPTION = "Compare an archive or another series with the original: errors and isosurfaces."


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_series_flags(parser)
    parser.add_argument(
        "reconstruction",
        metavar="RUN.minr|OTHER_SERIES",
        help="an archive, or a series as SERIES; of several arrays the one of SERIES is taken",
    )
    parser.add_argument("--steps", help="which steps, as 0:10:2 or 3,5,8 (default: all in both)")
    parser.add_argument(
        "--isovalue",
        nargs="+",
        type=float,
        action="extend",
        metavar="V",
        help="isosurfaces to compare (default: the quartiles of the series' values)",
    )
    parser.add_argument("--lpips", action="store_true", help="LPIPS of volume renderings of both")
    parser.add_argument("--lpips-net", default="alex", choices=("alex", "vgg", "squeeze"))
    parser.add_argument(
        "--backbone",
        metavar="FILE.pth",
        help="weights of that network as torchvision has them (default: in PyTorch's cache)",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def run(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .comparison import CONSTANT, Match, compare, default_isovalues

    if options.backbone and not options.lpips:
        raise SettingsError("--backbone is given, but not --lpips; add it")
    if options.series.endswith(".minr"):
        raise SettingsError(f"{options.series} is an archive; name the original series first")
    reference, other = _pair(options)
    match = Match.of(reference.grid, other.grid, decodes=options.reconstruction.endswith(".minr"))
    perception = None
    if options.lpips:
        from .perception import RenderedLpips

        value_range = reference.value_range(progress)
        perception = RenderedLpips(options.lpips_net, options.backbone, value_range)
    isovalues = options.isovalue or default_isovalues(reference)
    steps = compare(
        reference,
        other,
        isovalues=isovalues,
        steps=parse_steps(options.steps, len(reference)),
        perception=perception,
        device=options.device,
        progress=progress,
    )
    rows = [step.to_json() for step in steps]
    flat = [row["step"] for row in rows if "note" in row]
    notes = {row["lpips"] for row in rows if isinstance(row.get("lpips"), str)}
    return {
        "reference": reference.name,
        "reconstruction": options.reconstruction,
        "array": reference.array
        if reference.array == other.array
        else f"{reference.array}, of the archive {other.array}",
        "grids": match.text,
        "compared": f"{len(rows)} of {len(reference)} steps",
        "isovalues": isovalues,
        **_means(rows),
        **({"lpips": " ".join(notes)} if notes else {}),
        **({"note": f"{step_names(flat)}: {CONSTANT}"} if flat else {}),
        "steps": rows,
    }


def _pair(options: argparse.Namespace) -> tuple[Series, Series | Archive]:
    """The original and its reconstruction; without --array of the archive's array."""
    if not options.reconstruction.endswith(".minr"):
        reference = series_from(options)
        ignore = options.ignore_nonfinite
        return reference, open_series(
            options.reconstruction, reference.array, ignore_nonfinite=ignore
        )
    from .archive import Archive

    archive = Archive.open(options.reconstruction)
    warn_of_missing(archive)
    options.array = options.array or archive.array
    return series_from(options), archive


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Over the steps, of figures that all of them have; of isosurfaces that are there."""
    means = {}
    for name in ("psnr", "psnr_series", "ssim", "lpips"):
        values = [row.get(name) for row in rows]
        if all(isinstance(value, float) for value in values):
            means[f"mean_{name}"] = sum(values) / len(values)  # type: ignore[arg-type]
    surfaces = [s for row in rows for s in row["isosurfaces"]]
    distances = [s["chamfer_voxels"] for s in surfaces if s["chamfer_voxels"] or not s["note"]]
    if distances and None not in distances:
        means["mean_chamfer_voxels"] = sum(distances) / len(distances)
    return means


def rows_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per step for the terminal, with the Chamfer distances in voxels."""
    rows = []
    for step in report["steps"]:
        figures = {n: value for n, value in step.items() if n not in ("isosurfaces", "note")}
        row = shown_psnr(figures, step["max_error"] == 0)
        if isinstance(row.get("lpips"), str):
            row["lpips"] = None  # the report says why
        for surface in step["isosurfaces"]:
            distance = surface["chamfer_voxels"]
            name = f"chamfer {surface['isovalue']:.4g}"
            words = {None: "infinite", 0.0: "none"} if surface["note"] else {}
            row[name] = words.get(distance, distance)
        rows.append(row)
    return rows
