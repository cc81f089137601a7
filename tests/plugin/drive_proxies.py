"""Run by pvpython: the way from a series to a decoded volume through the proxies.

drive_proxies.py XML SERIES.pvd FOLDER SETTINGS(JSON); the last line printed is JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from paraview import servermanager, simple
from vtkmodules.util.numpy_support import vtk_to_numpy

xml, pvd, folder, settings = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
simple.LoadPlugin(xml, remote=False, ns=vars(simple))
result: dict[str, Any] = {}


def table_of(proxy: Any) -> dict[str, list[float]]:
    table = servermanager.Fetch(proxy)
    rows = range(table.GetNumberOfRows())
    return {
        table.GetColumnName(c): [table.GetValue(r, c).ToDouble() for r in rows]
        for c in range(table.GetNumberOfColumns())
    }


def count_runs(proxy: Any) -> list[int]:
    runs: list[int] = []
    proxy.GetClientSideObject().AddObserver("StartEvent", lambda *_: runs.append(1))
    return runs


def values_of(proxy: Any, time: float) -> Any:
    proxy.UpdatePipeline(time)
    array = servermanager.Fetch(proxy).GetPointData().GetArray("speed")
    return vtk_to_numpy(array)


series = simple.OpenDataFile(pvd)
# A filter between the reader and ours, which has to run for every time step too.
calculator = simple.Calculator(Input=series, ResultArrayName="shifted", Function="speed + 1")
prior = str(folder / "prior.safetensors")
pretrain = simple.MetaINRPretrain(
    Input=calculator, Scalars=["POINTS", "speed"], PriorFile=prior, **settings["pretrain"]
)
runs = count_runs(pretrain)
pretrain.UpdatePipeline(1.0)
result["history"] = table_of(pretrain)
# Neither other times of this filter nor of the series make it run again.
for time in (0.5, 3.0):
    series.UpdatePipeline(time)
    pretrain.UpdatePipeline(time)
result["pretrain_runs"] = len(runs)
calculator.UpdatePipeline(3.0)
shifted = servermanager.Fetch(calculator).GetPointData().GetArray("shifted")
result["input_range_at_3"] = shifted.GetRange()

archive = str(folder / "run.minr")
encode = simple.MetaINREncode(
    Input=calculator, Scalars=["POINTS", "speed"], PriorFile=prior, ArchiveFile=archive,
    **settings["encode"],
)  # fmt: skip
encode_runs = count_runs(encode)
decode = simple.MetaINRDecode(Input=encode)
decode.UpdatePipeline(2.5)
result["steps"] = table_of(encode)
result["times"] = list(decode.TimestepValues)
result["extent"] = decode.GetDataInformation().GetExtent()
for time in (0.5, 2.5, 2.6):
    np.save(folder / f"decoded_{time}.npy", values_of(decode, time))
    encode.UpdatePipeline(time)
result["encode_runs"] = len(encode_runs)

low, high = servermanager.Fetch(decode).GetPointData().GetArray("speed").GetRange()
contour = simple.Contour(
    Input=decode, ContourBy=["POINTS", "speed"], Isosurfaces=[(low + high) / 2]
)
contour.UpdatePipeline(3.0)
result["contour_points"] = contour.GetDataInformation().GetNumberOfPoints()
decode.Resolution, decode.Scale = "scale", 2.0
decode.UpdatePipeline(0.5)
result["scaled_extent"] = decode.GetDataInformation().GetExtent()
decode.UseBox, decode.Box = 1, [2.0, 5.0, -1.0, 1.0, 6.9, 15.1]
decode.UpdatePipeline(0.5)
result["box_extent"] = decode.GetDataInformation().GetExtent()
result["box_bounds"] = decode.GetDataInformation().GetBounds()

# Another fit: what is connected follows.
before = values_of(decode, 0.5).copy()
encode.Epochs = settings["encode"]["Epochs"] + 3
result["follows"] = bool(np.any(values_of(decode, 0.5) != before))

reader = simple.OpenDataFile(archive)
result["reader"] = reader.GetXMLName()
reader.UpdatePipeline(1.0)
result["reader_times"] = list(reader.TimestepValues)
result["reader_extent"] = reader.GetDataInformation().GetExtent()
result["reader_box"] = list(reader.Box)
result["reader_bounds"] = reader.GetDataInformation().GetBounds()
result["given_box"] = list(simple.MetaINRReader(FileName=archive, Box=[0, 1, 0, 1, 0, 1]).Box)

scene = simple.GetAnimationScene()
scene.UpdateAnimationUsingDataTimeSteps()
result["keeper"] = list(simple.GetTimeKeeper().TimestepValues)

# Errors: one line each, and nothing of the last result.
encode.Scalars = ["POINTS", "missing"]
encode.UpdatePipeline()
result["rows_after_error"] = encode.GetDataInformation().GetNumberOfRows()
decode.UpdatePipeline()
result["points_after_error"] = decode.GetDataInformation().GetNumberOfPoints()
encode.Scalars = ["POINTS", "speed"]
decode.UpdatePipeline()
result["points_after_cure"] = decode.GetDataInformation().GetNumberOfPoints()

# Stopped from the progress bar, then continued.
stopped = str(folder / "stopped.minr")
other = simple.MetaINREncode(
    Input=series, Scalars=["POINTS", "speed"], PriorFile=prior, ArchiveFile=stopped,
    **settings["encode"],
)  # fmt: skip
algorithm = other.GetClientSideObject()
sys.modules["metainr_paraview.filter"].__dict__["PROGRESS_INTERVAL"] = 0
# However many cores there are.
sys.modules["metainr_core.step_encoder"].__dict__["StepEncoder"].steps_at_once = lambda self: 1


def stop(*_: Any) -> None:
    if " step 2:" in (algorithm.GetProgressText() or ""):
        algorithm.SetAbortExecute(1)


observer = algorithm.AddObserver("ProgressEvent", stop)
other.UpdatePipeline()
result["stopped_steps"] = table_of(other)["step"]
algorithm.RemoveObserver(observer)
other.UpdatePipeline()  # nothing has changed, so nothing runs
result["still_stopped_steps"] = table_of(other)["step"]
other.InvokeCommand("RunAgain")
other.UpdatePipeline()
result["continued_steps"] = table_of(other)["step"]

simple.SaveState(str(folder / "state.pvsm"))
print(json.dumps(result))
