"""Run by pvpython: the reader's property Member, and what the panel offers for it.

drive_members.py XML ENSEMBLE.minr SERIES.minr; the last line printed is JSON.
"""

import json
import sys
from typing import Any

from paraview import simple

xml, ensemble, series = sys.argv[1:]
simple.LoadPlugin(xml, remote=False, ns=vars(simple))
result: dict[str, Any] = {}

reader = simple.OpenDataFile(ensemble)
result["offered"] = list(reader.GetProperty("Member").Available)
result["chosen"] = reader.Member.GetData()
result["times"] = {}
for member in result["offered"]:
    reader.Member = member
    reader.UpdatePipelineInformation()
    result["times"][member] = list(reader.TimestepValues)
reader.UpdatePipeline(2.5)
result["time"] = reader.GetDataInformation().GetTime()
result["range"] = reader.PointData["speed"].GetRange()
simple.GetAnimationScene().UpdateAnimationUsingDataTimeSteps()
result["keeper"] = list(simple.GetTimeKeeper().TimestepValues)
reader.Member = "none"
reader.UpdatePipeline()
result["points_of_none"] = reader.GetDataInformation().GetNumberOfPoints()

named = simple.MetaINRReader(FileName=ensemble, Member="b")
named.UpdatePipeline()
result["named"] = list(named.TimestepValues)

plain = simple.OpenDataFile(series)
plain.UpdatePipeline()
result["plain"] = {
    "offered": list(plain.GetProperty("Member").Available),
    "chosen": plain.Member.GetData(),
    "points": plain.GetDataInformation().GetNumberOfPoints(),
}
print(json.dumps(result))
