"""Run by pvpython: Meta-INR Projection on Encode's table and on an archive opened as a file.

drive_projection.py XML SERIES.pvd PRIOR ARCHIVE SETTINGS(JSON); the last line printed is JSON.
"""

import json
import sys
from typing import Any

from paraview import servermanager, simple

xml, series, prior, archive, settings = sys.argv[1:]
simple.LoadPlugin(xml, remote=False, ns=vars(simple))
result: dict[str, Any] = {}


def table_of(proxy: Any) -> dict[str, list[float]]:
    table = servermanager.Fetch(proxy)
    rows = range(table.GetNumberOfRows())
    return {
        table.GetColumnName(c): [table.GetValue(r, c).ToDouble() for r in rows]
        for c in range(table.GetNumberOfColumns())
    }


encode = simple.MetaINREncode(
    Input=simple.OpenDataFile(series), Scalars=["POINTS", "speed"], PriorFile=prior,
    ArchiveFile=archive, **json.loads(settings),
)  # fmt: skip
projection = simple.MetaINRProjection(Input=encode, Method="pca", Select=3)
runs: list[int] = []
projection.GetClientSideObject().AddObserver("StartEvent", lambda *_: runs.append(1))
for time in (0.5, 3.0):
    projection.UpdatePipeline(time)
result["runs"] = len(runs)
result["table"] = table_of(projection)
path = servermanager.Fetch(projection, idx=1)
result["path"] = [list(path.GetPoint(i)) for i in range(path.GetNumberOfPoints())]
result["lines"] = path.GetNumberOfLines()
ranges = simple.OutputPort(projection, "Path").PointData
result["time_range"] = ranges["time"].GetRange()

opened = simple.MetaINRProjection(Input=simple.OpenDataFile(archive), Method="pca", Select=3)
opened.UpdatePipeline(1.0)
result["same"] = table_of(opened) == result["table"]

# Errors: one line each, and nothing of the last result in either output.
projection.Perplexity = 9
projection.UpdatePipeline()
result["columns_after_error"] = len(table_of(projection))
path = servermanager.Fetch(projection, idx=1)
result["points_after_error"] = path.GetNumberOfPoints()
projection.Perplexity = 0
projection.UpdatePipeline()
result["after_cure"] = table_of(projection) == result["table"]
encode.Scalars = ["POINTS", "missing"]
projection.UpdatePipeline()
result["columns_after_encode_failed"] = len(table_of(projection))
print(json.dumps(result))
