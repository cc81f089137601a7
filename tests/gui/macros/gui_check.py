"""A macro of test_macro.py: appends what there is as a line of JSON, and goes to the next time."""

import json
import os
from typing import Any

from paraview import servermanager, simple

manager = servermanager.ProxyManager()
groups = ("sources", "views", "layouts", "representations", "scalar_bars", "lookup_tables")
found: dict[str, Any] = {group: len(manager.GetProxiesInGroup(group)) for group in groups}
found["links"] = manager.GetNumberOfLinks()
scene = simple.GetAnimationScene()
found["time"] = scene.AnimationTime
named = {name: source for (name, _), source in simple.GetSources().items()}
found["texts"] = {}
for name, source in named.items():
    if name.endswith(" text"):
        source.UpdatePipelineInformation()
        source.UpdatePropertyInformation()
        found["texts"][name] = source.GetPropertyValue("AnnotationValue")
views = [
    view
    for (name, _), view in manager.GetProxiesInGroup("views").items()
    if name.startswith("Side")
]
if views:
    views[1].CameraPosition = [40.0, 30.0, 20.0]
    views[1].StillRender()
    found["cameras"] = [list(view.CameraPosition) for view in views]
found["sizes"] = [list(view.ViewSize) for view in views]
with open(os.path.join(os.environ["METAINR_GUI_TEST"], "found.json"), "a") as file:
    file.write(json.dumps(found) + "\n")
scene.GoToNext()
