"""Pretrain, encode and decode a series in pvpython, and print a table.

    metainr pvpython examples/quickstart.py FOLDER

FOLDER holds series/turbulence.pvd (examples/turbulence.py writes it); the prior, the archive and
the table go into FOLDER as well. Nothing is rendered, so no display is needed.
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
    check(pretrain, folder)
    share = Fetch(pretrain).GetFieldData().GetArray("voxel_share").GetTuple1(0)
    say(started, f"pretrained: initial weights for all steps, from {share:.2%} of the voxels")
    encode = simple.MetaINREncode(
        Input=series,
        Scalars=["POINTS", ARRAY],
        PriorFile=str(folder / "prior.safetensors"),
        ArchiveFile=str(folder / "turbulence.minr"),
    )
    check(encode, folder)
    say(started, "encoded: each step is a network in turbulence.minr")
    decode = simple.MetaINRDecode(Input=encode)
    decode.UpdatePipeline()
    table = measure(series, decode, Fetch(encode))
    say(started, "decoded and compared with the originals")
    print(table)
    (folder / "table.txt").write_text(table + "\n")
    say(started, f"the table is also in {folder / 'table.txt'}")


def check(table: simple.Proxy, folder: Path) -> None:
    """Ends the script where a filter has failed: its output is empty then."""
    table.UpdatePipeline()
    if not Fetch(table).GetNumberOfRows():
        sys.exit(f"quickstart.py: stopped, see the error above; remove {folder} to begin anew")


def say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.1f} s] {text}", flush=True)


def values_at(proxy: simple.Proxy, moment: float) -> np.ndarray:
    """The proxy's values at a time, flat, float64."""
    proxy.UpdatePipeline(moment)
    return vtk_to_numpy(Fetch(proxy).GetPointData().GetArray(ARRAY)).astype(np.float64)


def measure(series: simple.Proxy, decode: simple.Proxy, encoded: simple.Proxy) -> str:
    """One row per step. PSNR is over the series' range, and measured here, not taken over."""
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
    return "\n".join([header, *rows, mean])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: metainr pvpython examples/quickstart.py FOLDER")
    main(Path(sys.argv[1]))
