"""A series, its reconstruction and their difference in linked views, as a picture or an animation.

    metainr pvpython examples/side_by_side.py SERIES.pvd RUN.minr OUTPUT [options]

RUN.minr may be another SERIES.pvd. OUTPUT is a picture (.png, .jpg, .tif, .bmp, .ppm) or a film
(.ogv, .avi) of all times that both have; with --animation numbered pictures. Rendering needs a
display; without one, put `xvfb-run -a` before the command. In the GUI the same is the macro
metainr_side_by_side, whose function `metainr_views.side_by_side.side_by_side` this calls.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from metainr_views.side_by_side import side_by_side
from metainr_views.sources import SideBySideError
from paraview import simple

from metainr_core.comparison import same_times

PICTURES, FILMS = (".png", ".jpg", ".tif", ".bmp", ".ppm"), (".ogv", ".avi")


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    original, reconstruction = open_volume(options.series), open_volume(options.reconstruction)
    check_times(options, original, reconstruction)
    film = options.animation or options.output.suffix.lower() in FILMS
    made = side_by_side(
        original,
        reconstruction,
        array=options.array,
        isovalues=options.isovalue or [] if options.isosurfaces or options.isovalue else None,
        time=options.time,
        all_times=film,
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if film:
        saved = made.save_animation(options.output, options.frames_per_second)
    else:
        saved = made.save_picture(options.output)
    if not saved:
        raise SideBySideError(f"{options.output} could not be written; the message above says why")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="side_by_side.py", description=__doc__.split("\n")[0])
    parser.add_argument("series", type=Path, help="the original: a .pvd (or a .minr)")
    parser.add_argument("reconstruction", type=Path, help="a .minr, or another .pvd")
    parser.add_argument(
        "output", type=Path, help=f"{' '.join(PICTURES)} or a film: {' '.join(FILMS)}"
    )
    parser.add_argument("--time", type=float, help="show the common time nearest to it (the first)")
    parser.add_argument("--array", help="to show (the reconstruction's)")
    parser.add_argument(
        "--isosurfaces", action="store_true", help="at the three quartiles, instead of volumes"
    )
    parser.add_argument(
        "--isovalue", type=float, nargs="+", metavar="V", help="isosurfaces at these values"
    )
    parser.add_argument(
        "--animation", action="store_true", help="numbered pictures, one for each common time"
    )
    parser.add_argument(
        "--frames-per-second", type=int, default=5, metavar="N", help="of a film (5)"
    )
    options = parser.parse_args(arguments)
    if options.output.suffix.lower() not in PICTURES + FILMS:
        parser.error(
            f"output {options.output}: expected a picture ({' '.join(PICTURES)}) or a film"
            f" ({' '.join(FILMS)})"
        )
    if options.output.is_dir():
        parser.error(f"output {options.output} is a folder; give the name of a file")
    if options.output.parent.is_file():
        parser.error(f"output {options.output}: {options.output.parent} is a file, not a folder")
    for path in (options.series, options.reconstruction):
        if path.suffix.lower() not in (".pvd", ".minr"):
            parser.error(f"{path}: expected a .pvd or a .minr file")
        if not path.is_file():
            parser.error(f"{path} does not exist")
    return options


def open_volume(path: Path) -> Any:
    reader = simple.PVDReader if path.suffix.lower() == ".pvd" else simple.MetaINRReader
    source = reader(registrationName=path.name, FileName=str(path))
    source.UpdatePipeline()
    found = source.GetDataInformation()
    if found.GetDataClassName() != "vtkImageData" or not found.GetNumberOfPoints():
        if found.GetFieldDataInformation().GetArrayInformation("minr_error"):
            sys.exit(2)  # the reader has said what is wrong
        raise SideBySideError(
            f"{path} holds {found.GetPrettyDataTypeString()}; expected image data"
        )
    return source


def check_times(options: argparse.Namespace, original: Any, reconstruction: Any) -> None:
    ours, theirs = list(original.TimestepValues), list(reconstruction.TimestepValues)
    if ours and theirs and not same_times(ours, theirs):
        raise SideBySideError(
            f"no time is in both: {options.series} has {ours[0]:g} to {ours[-1]:g},"
            f" {options.reconstruction} has {theirs[0]:g} to {theirs[-1]:g}"
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (SideBySideError, OSError) as error:
        print(f"side_by_side.py: error: {error}", file=sys.stderr)
        sys.exit(2)
