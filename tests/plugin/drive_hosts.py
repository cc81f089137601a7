"""Run by pvpython or pvbatch: each filter once, for a short time, wherever the server is.

drive_hosts.py XML SERIES.pvd FOLDER SETTINGS(JSON) [PORT]; with PORT the server is a pvserver.
Every process prints; with several, only the first prints JSON.
"""

import json
import sys

from paraview import servermanager, simple

xml, pvd, folder, text, *port = sys.argv[1:]
settings = json.loads(text)
if port:
    simple.Connect("localhost", int(port[0]))
    simple.LoadPlugin(xml, remote=True)
simple.LoadPlugin(xml, remote=False, ns=vars(simple))

series = simple.OpenDataFile(pvd)
pretrain = simple.MetaINRPretrain(
    Input=series, Scalars=["POINTS", "speed"], PriorFile=folder + "/prior.safetensors",
    **settings["pretrain"],
)  # fmt: skip
pretrain.UpdatePipeline(1.0)
encode = simple.MetaINREncode(
    Input=series, Scalars=["POINTS", "speed"], PriorFile=folder + "/prior.safetensors",
    ArchiveFile=folder + "/run.minr", **settings["encode"],
)  # fmt: skip
encode.UpdatePipeline(1.0)
decode = simple.MetaINRDecode(Input=encode)
decode.UpdatePipeline(2.5)
series.UpdatePipeline(2.5)
result = {
    "rounds": pretrain.GetDataInformation().GetNumberOfRows(),
    "rows": encode.GetDataInformation().GetNumberOfRows(),
    "points": decode.GetDataInformation().GetNumberOfPoints(),
    "times": list(decode.TimestepValues),
    "input_range": series.PointData["speed"].GetRange(),
    "torch": "torch" in sys.modules,
}
compare = simple.MetaINRCompare(Reference=series, Reconstruction=decode)
compare.UpdatePipeline(2.5)
result["compared"] = compare.GetDataInformation().GetNumberOfRows()
projection = simple.MetaINRProjection(Input=encode, Method="pca")
projection.UpdatePipeline()
result["mapped"] = projection.GetDataInformation().GetNumberOfRows()
table = servermanager.Fetch(pretrain)
message = table.GetFieldData().GetAbstractArray("minr_error") if table else None
result["message"] = message.GetValue(0) if message else ""
# An archive is decoded on as many processes as there are.
reader = simple.MetaINRReader(FileName=settings["archive"])
reader.UpdatePipeline(0.5)
result["reader_points"] = reader.GetDataInformation().GetNumberOfPoints()
result["reader_range"] = reader.PointData["speed"].GetRange() if reader.PointData.keys() else None
if servermanager.vtkProcessModule.GetProcessModule().GetPartitionId() == 0:
    print(json.dumps(result))
