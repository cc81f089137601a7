"""A series on a cluster, without a window: encoded by one process, rendered by many.

    metainr pvbatch examples/cluster.py encode SERIES.pvd RUN.minr [options]
    mpiexec -n 8 metainr pvbatch examples/cluster.py render RUN.minr FOLDER [options]

`encode` uses all cores, or the GPU, of one node. It leaves RUN.minr, the prior RUN.safetensors and
RUN.csv with PSNR, SSIM and distances of isosurfaces at every time step. Started again after the
job's time was over, it goes on. `render` writes one picture for each time step into FOLDER; each
process decodes its part of the volume. A build of ParaView for clusters draws without a display,
others need `xvfb-run -a` before pvbatch. examples/tutorial.md has a script for Slurm.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from paraview import simple


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    options.run(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cluster.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("encode", help="a series to an archive and figures")
    command.set_defaults(run=encode)
    command.add_argument("series", type=existing, help="a .pvd file")
    command.add_argument("archive", type=Path, help="the .minr file to write")
    command.add_argument("--array", help="point array to encode (the only one)")
    command.add_argument("--epochs", type=int, default=-1, help="passes of each step (4)")
    command.add_argument("--target-ratio", type=float, default=0, metavar="R", help="how small")
    command = commands.add_parser("render", help="an archive to pictures")
    command.set_defaults(run=render)
    command.add_argument("archive", type=existing, help="a .minr file")
    command.add_argument("folder", type=Path, help="for frame.0000.png and so on")
    command.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("W", "H"))
    command.add_argument("--scale", type=float, default=1.0, help="of the grid: 2 is twice as fine")
    return parser.parse_args(arguments)


def existing(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


def encode(options: argparse.Namespace) -> None:
    series = simple.PVDReader(FileName=str(options.series))
    settings: dict[str, Any] = {"Input": series, "TargetRatio": options.target_ratio}
    if options.array:
        settings["Scalars"] = ["POINTS", options.array]
    prior = str(options.archive.with_suffix(".safetensors"))
    check(simple.MetaINRPretrain(**settings, PriorFile=prior))
    archive = simple.MetaINREncode(
        **settings, PriorFile=prior, ArchiveFile=str(options.archive), Epochs=options.epochs
    )
    check(archive)
    decoded = simple.MetaINRDecode(Input=archive)
    figures = simple.MetaINRCompare(Reference=series, Reconstruction=decoded, TimeSteps="all")
    if options.array:
        figures.Scalars = settings["Scalars"]
    check(figures)
    simple.SaveData(str(options.archive.with_suffix(".csv")), simple.OutputPort(figures, 0))


def check(source: Any) -> None:
    """Ends the script where a filter has failed; it has said why."""
    source.UpdatePipeline()
    if not source.GetDataInformation().GetNumberOfRows():
        sys.exit(2)


def render(options: argparse.Namespace) -> None:
    volume = simple.MetaINRReader(FileName=str(options.archive))
    if options.scale != 1:
        volume.Resolution, volume.Scale = "scale", options.scale
    volume.UpdatePipeline()
    if not volume.GetDataInformation().GetNumberOfPoints():
        sys.exit(2)
    view = simple.CreateView("RenderView")
    view.ViewSize = options.size
    display = simple.Show(volume, view)
    values = volume.PointData if len(volume.PointData) else volume.CellData
    association = "POINTS" if len(volume.PointData) else "CELLS"
    simple.ColorBy(display, (association, values[0].Name))
    display.SetRepresentationType("Volume")
    # One range of colours, so that the frames can be compared.
    display.RescaleTransferFunctionToDataRangeOverTime()
    display.SetScalarBarVisibility(view, True)
    view.ResetCamera(True)
    options.folder.mkdir(parents=True, exist_ok=True)
    for number, time in enumerate(volume.TimestepValues):
        view.ViewTime = time
        simple.SaveScreenshot(str(options.folder / f"frame.{number:04d}.png"), view)


if __name__ == "__main__":
    main(sys.argv[1:])
