"""Run by pvpython: files are saved and opened. drive_files.py XML SERIES FOLDER.

Prints what was found as JSON.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from paraview import servermanager, simple
from paraview.vtk.util.numpy_support import vtk_to_numpy

xml, series, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
simple.LoadPlugin(xml, remote=False)
QUICK = {"Width": 8, "HiddenLayers": 1, "OuterSteps": 3, "InnerSteps": 2, "Tasks": 2}


def values(source: Any, time: float) -> Any:
    source.UpdatePipeline(time)
    return vtk_to_numpy(servermanager.Fetch(source).GetPointData().GetScalars())


def error(source: Any) -> str:
    source.UpdatePipeline()
    array = servermanager.Fetch(source).GetFieldData().GetAbstractArray("minr_error")
    return array.GetValue(0) if array else ""


found: dict[str, Any] = {}
source = simple.OpenDataFile(series)
source.UpdatePipeline(2.5)
at = values(source, 2.5).copy()
prior = str(folder / "prior.safetensors")
pretrain = simple.MetaINRPretrain(Input=source, PriorFile=prior, LambdaT=1, **QUICK)
pretrain.UpdatePipeline()
source.UpdatePipeline(2.5)

saved = str(folder / "saved.minr")
simple.SaveData(saved, proxy=source, PriorFile=prior, Epochs=2, Scalars=["POINTS", "speed"])
found["stays"] = bool(
    (vtk_to_numpy(servermanager.Fetch(source).GetPointData().GetScalars()) == at).all()
)
reader = simple.OpenDataFile(saved)
found["reader"] = reader.SMProxy.GetXMLName()
found["times"] = list(reader.TimestepValues)
encode = simple.MetaINREncode(
    Input=source, PriorFile=prior, Epochs=2, ArchiveFile=str(folder / "encoded.minr")
)
decode = simple.MetaINRDecode(Input=encode)
found["same"] = all((values(reader, t) == values(decode, t)).all() for t in reader.TimestepValues)

copy = str(folder / "copy.minr")
simple.SaveData(copy, proxy=decode, Epochs=1, Preset="default", PriorFile=prior)
found["copy"] = list(simple.OpenDataFile(copy).TimestepValues)

# Overwritten on purpose, as every writer of ParaView does, but not by what comes from there.
simple.SaveData(copy, proxy=source, Epochs=1, PriorFile=prior)
simple.SaveData(saved, proxy=reader, Epochs=1, PriorFile=prior)
simple.SaveData(str(folder / "bad.minr"), proxy=source, PriorFile=saved)
found["files"] = sorted(p.name for p in folder.iterdir())

table = simple.OpenDataFile(prior)
table.UpdatePipeline()
found["prior"] = table.SMProxy.GetXMLName(), table.GetDataInformation().GetNumberOfRows()

good = Path(saved).read_bytes()
Path(saved).write_bytes(good[:300])
found["reload"] = [simple.ReloadFiles(reader), error(reader)]
Path(saved).write_bytes(good)
found["reload"] += [simple.ReloadFiles(reader), error(reader)]
found["again"] = bool((values(reader, 1.0) == values(decode, 1.0)).all())
shutil.copy(folder / "saved" / "step_000000.safetensors", folder / "step.safetensors")
found["step"] = error(simple.OpenDataFile(str(folder / "step.safetensors")))
print(json.dumps(found))
