"""Run by pvpython: what the panels say while settings are edited, as JSON.

drive_readouts.py SERIES.pvd [PORT]; with PORT the server is a pvserver, else it is in this
process, where the filter can be asked whether it is gone.
"""

import json
import sys
import weakref
from typing import Any

from metainr_views import readouts
from paraview import simple

pvd, *port = sys.argv[1:]
readouts.follow()  # before there is a server
if port:
    simple.Connect("localhost", int(port[0]))
found: dict[str, Any] = {}


def note(case: str, source: Any) -> None:
    found[case] = [source.Networks, source.Parameters, source.EachStep, source.RunsOn]


def edit(source: Any, name: str, value: Any) -> None:
    source.SMProxy.GetProperty(name).SetUncheckedElement(0, value)


series = simple.OpenDataFile(pvd)
unread = simple.MetaINREncode(Input=series)
note("unread", unread)
simple.Delete(unread)
series.UpdatePipeline()
encode = simple.MetaINREncode(Input=series, Init="random")
pretrain = simple.MetaINRPretrain(Input=series)
note("made", encode)
edit(encode, "Width", 9)
note("edited", encode)
edit(encode, "BrickSize", 8)
note("edited more", encode)
note("another", pretrain)
# As Apply does it.
encode.SMProxy.GetProperty("Width").ClearUncheckedElements()
encode.Width, encode.BrickSize = 9, 8
encode.UpdatePipelineInformation()
note("applied", encode)
edit(encode, "Width", 5000)
note("impossible", encode)
edit(encode, "Width", 9)
note("put back", encode)
if not port:  # what was deleted is gone, though it was followed
    gone = weakref.finalize(encode.GetClientSideObject(), lambda: None)
simple.Delete(encode)
del encode
found["gone"] = bool(port) or not gone.alive
found["torch"] = "torch" in sys.modules
print(json.dumps(found))
