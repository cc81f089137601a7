"""A macro of test_macro.py: opens two series and selects both."""

import os

from paraview import servermanager, simple

folder = os.environ["METAINR_GUI_TEST"]
sources = [
    simple.PVDReader(registrationName=name, FileName=f"{folder}/{name}/series.pvd")
    for name in ("original", "other")
]
for source in sources:
    source.UpdatePipeline()
model = servermanager.ProxyManager().GetSelectionModel("ActiveSources")
for source in sources:
    model.Select(source.SMProxy, model.SELECT)
