"""Run by pvpython: loads a state in a new process and shows everything in it.

drive_state.py XML STATE.pvsm [FOLDER]; training in this process is an error. With FOLDER, files are
looked for in there.
"""

import json
import sys
from typing import Any

from paraview import servermanager, simple

xml, state, *folder = sys.argv[1:]
simple.LoadPlugin(xml, remote=False)
from metainr_core import training  # noqa: E402

trained: list[int] = []
original = training.Trainer.run


def run(self: Any, *arguments: Any) -> Any:
    trained.append(1)
    return original(self, *arguments)


training.Trainer.run = run  # type: ignore
simple.LoadState(state, data_directory=folder[0] if folder else None)
result: dict[str, Any] = {"rows": {}, "times": {}, "points": {}}
for proxy in simple.GetSources().values():
    proxy.UpdatePipeline()
    data = servermanager.Fetch(proxy)
    kind = proxy.GetXMLName()
    if data.IsA("vtkTable"):
        result["rows"].setdefault(kind, []).append(data.GetNumberOfRows())
    if kind in ("MetaINRDecode", "MetaINRReader"):
        result["times"][kind] = list(proxy.TimestepValues)
        result["points"][kind] = data.GetNumberOfPoints()
result["trained"] = len(trained)
print(json.dumps(result))
