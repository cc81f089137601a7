"""Pretrain, encode and decode a series in pvpython, print a table, save a picture.

    metainr pvpython examples/quickstart.py FOLDER

FOLDER holds series/turbulence.pvd (examples/turbulence.py writes it); the prior, the archive, the
table and the picture go into FOLDER as well.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import numpy as np
from paraview import simple
from paraview.servermanager import Fetch
from vtkmodules.util.numpy_support import vtk_to_numpy

ARRAY = "vorticity_magnitude"
COLUMNS = ("step", "time", "PSNR dB", "max error", "bytes", "ratio", "seconds")


def main(folder: Path) -> None:
    started = time.perf_counter()
    series = simple.PVDReader(FileName=str(folder / "series/turbulence.pvd"))
    pretrain = simple.MetaINRPretrain(
        Input=series, Scalars=["POINTS", ARRAY], PriorFile=str(folder / "prior.safetensors")
    )
    pretrain.UpdatePipeline()
    say(started, "pretrained: initial weights for all steps, from 0.8 % of the voxels")
    encode = simple.MetaINREncode(
        Input=series,
        Scalars=["POINTS", ARRAY],
        PriorFile=str(folder / "prior.safetensors"),
        ArchiveFile=str(folder / "turbulence.minr"),
    )
    encode.UpdatePipeline()
    say(started, "encoded: each step is a network in turbulence.minr")
    decode = simple.MetaINRDecode(Input=encode)
    decode.UpdatePipeline()
    table, decibels = measure(series, decode, Fetch(encode))
    say(started, "decoded and compared with the originals")
    print(table)
    (folder / "table.txt").write_text(table + "\n")
    ratio = Fetch(encode).GetColumnByName("ratio").GetTuple1(len(decibels) - 1)
    caption = f"Meta-INR: {decibels[-1]:.1f} dB, {ratio:.0f} : 1"
    side_by_side(series, decode, caption, folder / "side_by_side.png")
    say(started, f"done; see {folder / 'side_by_side.png'} and {folder / 'table.txt'}")


def say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.1f} s] {text}", flush=True)


def values_at(proxy: simple.Proxy, moment: float) -> np.ndarray:
    """The proxy's values at a time, flat, float64."""
    proxy.UpdatePipeline(moment)
    return vtk_to_numpy(Fetch(proxy).GetPointData().GetArray(ARRAY)).astype(np.float64)


def measure(
    series: simple.Proxy, decode: simple.Proxy, encoded: simple.Proxy
) -> tuple[str, list[float]]:
    """A table with a row per step, and the PSNR of each in dB.

    PSNR is over the series' range, and measured here, not taken over.
    """
    moments = list(series.TimestepValues)
    originals = [values_at(series, t) for t in moments]
    value_range = max(v.max() for v in originals) - min(v.min() for v in originals)
    rows, decibels = [], []
    for step, (moment, original) in enumerate(zip(moments, originals, strict=True)):
        error = values_at(decode, moment) - original
        decibels.append(20 * math.log10(value_range / math.sqrt(np.mean(error**2))))
        size, ratio, seconds = (
            encoded.GetColumnByName(name).GetTuple1(step) for name in ("bytes", "ratio", "seconds")
        )
        rows.append(
            f"{step:8d} {moment:10.4f} {decibels[-1]:10.2f} {abs(error).max():10.3f}"
            f" {size:10.0f} {ratio:10.1f} {seconds:10.2f}"
        )
    header = f"{COLUMNS[0]:>8s} " + " ".join(f"{c:>10s}" for c in COLUMNS[1:])
    mean = f"mean PSNR over the series' range: {np.mean(decibels):.2f} dB"
    return "\n".join([header, *rows, mean]), decibels


def side_by_side(series: simple.Proxy, decode: simple.Proxy, caption: str, path: Path) -> None:
    """Original and reconstruction of the last step: one camera, one transfer function."""
    moment = list(series.TimestepValues)[-1]
    views = []
    for source, title in ((series, "Original"), (decode, caption)):
        view = simple.CreateRenderView(ViewSize=[600, 600], OrientationAxesVisibility=0)
        view.ViewTime = moment
        view.UseColorPaletteForBackground = 0
        view.Background = [0.08, 0.09, 0.12]
        source.UpdatePipeline(moment)
        shown = simple.Show(source, view)
        shown.SetRepresentationType("Volume")
        simple.ColorBy(shown, ("POINTS", ARRAY))
        text = simple.Show(simple.Text(Text=title), view)
        text.FontSize, text.Color = 24, [1.0, 1.0, 1.0]
        text.WindowLocation = "Upper Center"
        views.append(view)
    series.UpdatePipeline(moment)
    low, high = series.PointData[ARRAY].GetRange()
    colors = simple.GetColorTransferFunction(ARRAY)
    colors.ApplyPreset("Inferno (matplotlib)", True)
    colors.RescaleTransferFunction(low, high)
    opacity = simple.GetOpacityTransferFunction(ARRAY)
    middle = low + 0.25 * (high - low)
    opacity.Points = [low, 0.0, 0.5, 0.0, middle, 0.05, 0.5, 0.0, high, 0.9, 0.5, 0.0]
    simple.AddCameraLink(views[0], views[1], "side by side")
    views[0].CameraPosition = [18.0, 10.0, 14.0]
    views[0].CameraFocalPoint = [math.pi, math.pi, math.pi]
    views[0].CameraViewUp = [0.0, 1.0, 0.0]
    layout = simple.CreateLayout("side by side")
    layout.SplitHorizontal(0, 0.5)
    layout.AssignView(1, views[0])
    layout.AssignView(2, views[1])
    layout.SetSize(1200, 600)
    simple.SaveScreenshot(str(path), layout, ImageResolution=[1200, 600])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: metainr pvpython examples/quickstart.py FOLDER")
    main(Path(sys.argv[1]))
