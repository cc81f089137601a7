"""Run by pvpython: goes twice through all time steps of an archive.

drive_stepping.py XML RUN.minr; the last line printed is JSON.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from metainr_paraview.reader import MetaINRReader
from paraview import simple

from metainr_core import Archive

xml, path = sys.argv[1:]
simple.LoadPlugin(xml, remote=False, ns=vars(simple))
result: dict[str, Any] = {"decoded": [], "ahead": [], "opened": 0, "executed": 0, "ranges": []}


def note(owner: Any, name: str, action: Callable[..., None]) -> None:
    original = getattr(owner, name)

    def noted(*arguments: Any, **named: Any) -> Any:
        action(*arguments)
        return original(*arguments, **named)

    setattr(owner, name, noted)


def count(name: str) -> Callable[..., None]:
    return lambda *_: result.update({name: result[name] + 1})


note(Archive, "decode", lambda _archive, step, *_: result["decoded"].append(step))
note(Archive, "decode_ahead", lambda _archive, step, *_: result["ahead"].append(step))
note(MetaINRReader, "RequestData", count("executed"))
note(Archive, "_adopt_steps", count("opened"))

reader = simple.OpenDataFile(path)
reader.UpdatePipeline()
for repeat in range(2):
    for time in reader.TimestepValues:
        reader.UpdatePipeline(time)
        if repeat == 0:
            result["ranges"].append(reader.PointData["speed"].GetRange())
print(json.dumps(result))
