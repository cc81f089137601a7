"""Run by pvpython: a series encoded, decoded and compared through the proxies.

drive_compare.py XML SERIES.pvd FOLDER SETTINGS(JSON); the last line printed is JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

from paraview import servermanager, simple

xml, pvd, folder, settings = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
simple.LoadPlugin(xml, remote=False, ns=vars(simple))
result: dict[str, Any] = {}


def table_of(proxy: Any) -> dict[str, list[Any]]:
    table = servermanager.Fetch(proxy)
    columns = [table.GetColumn(c) for c in range(table.GetNumberOfColumns())]
    return {c.GetName(): [c.GetValue(r) for r in range(c.GetNumberOfValues())] for c in columns}


def count_runs(proxy: Any) -> list[int]:
    runs: list[int] = []
    proxy.GetClientSideObject().AddObserver("StartEvent", lambda *_: runs.append(1))
    return runs


series = simple.OpenDataFile(pvd)
encode = simple.MetaINREncode(
    Input=series, Scalars=["POINTS", "speed"], ArchiveFile=str(folder / "run.minr"),
    Init="random", **settings,
)  # fmt: skip
decode = simple.MetaINRDecode(Input=encode)
# No array is named: the series has one.
compare = simple.MetaINRCompare(Reference=series, Reconstruction=decode, Isovalues=[0.5, 1.0])
compare.UpdatePipeline(2.5)
result["encode"] = table_of(encode)
result["current"] = table_of(compare)
result["times"] = list(compare.TimestepValues)

compare.TimeSteps = "all"
compare.UpdatePipeline(2.5)
result["all"] = table_of(compare)
rows: list[int] = []
original = sys.modules["metainr_paraview.comparing"].compare_volumes


def counted(*arguments: Any, **keywords: Any) -> Any:
    rows.append(1)
    return original(*arguments, **keywords)


sys.modules["metainr_paraview.comparing"].compare_volumes = counted  # type: ignore[attr-defined]
encode_runs = count_runs(encode)
names = ("Table", "Difference", "ReferenceIsosurface", "ReconstructionIsosurface")
ports = {name: simple.OutputPort(compare, name) for name in names}
for time in (0.5, 3.0, 1.0):
    for port in ports.values():
        port.UpdatePipeline(time)
        port.GetDataInformation()
result["compared_again"], result["encode_runs"] = len(rows), len(encode_runs)
result["types"] = {n: p.GetDataInformation().GetDataSetTypeAsString() for n, p in ports.items()}
result["extent"] = ports["Difference"].GetDataInformation().GetExtent()
for name in names[1:]:
    data = servermanager.Fetch(compare, idx=names.index(name))
    arrays = data.GetPointData()
    result[name] = {
        arrays.GetArrayName(i): list(arrays.GetArray(i).GetRange())
        for i in range(arrays.GetNumberOfArrays())
    }

# What is connected to an output.
largest = simple.PythonCalculator(Input=ports["Difference"], Expression="abs(difference)")
largest.UpdatePipeline(3.0)
values = servermanager.Fetch(largest).GetPointData().GetArray("result")
result["largest_at_3"] = values.GetRange()[1]
contour = simple.Contour(
    Input=ports["Difference"], ContourBy=["POINTS", "difference"], Isosurfaces=[0.0]
)
contour.UpdatePipeline(3.0)
result["contour_points"] = contour.GetDataInformation().GetNumberOfPoints()
simple.SaveData(str(folder / "difference.vti"), proxy=ports["Difference"])
simple.SaveData(str(folder / "table.csv"), proxy=ports["Table"])

decode.Resolution, decode.Scale = "scale", 0.5
compare.UpdatePipeline(1.0)
result["coarse"] = table_of(compare)
matching = servermanager.Fetch(compare).GetFieldData().GetAbstractArray("matching")
result["matching"] = matching.GetValue(0)
decode.Resolution = "original"

compare.Isovalues = []
compare.UpdatePipeline(1.0)
result["quartiles"] = table_of(compare)
compare.Isovalues = [0.7, 0.8]

encode.ArchiveFile = str(folder / "nowhere" / ".." / "\0")  # cannot be written
compare.UpdatePipeline(1.0)
result["rows_after_error"] = compare.GetDataInformation().GetNumberOfRows()
encode.ArchiveFile = str(folder / "run.minr")
compare.UpdatePipeline(1.0)
result["rows_after_cure"] = compare.GetDataInformation().GetNumberOfRows()

simple.SaveState(str(folder / "state.pvsm"))
print(json.dumps(result))
