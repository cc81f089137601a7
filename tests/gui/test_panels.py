"""The panels of Encode and of the reader: what is seen at first, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("vtkmodules")
from metainr_core import Archive, ArraySeries, EncodeConfig, Grid, SirenConfig, encode
from metainr_core.ensemble import EnsembleSeries, Run
from tests.gui.application import PROPERTIES, Application
from tests.hosts import blob, write_series

APPLY = "propertiesDock/propertiesPanel/Accept"
SEEN = (
    "SelectInputScalars", "ArchiveFile", "PriorFile", "Init", "Networks", "Parameters", "EachStep",
    "RunsOn", "Preset", "Width", "TargetRatio", "TargetPSNR", "MaxError", "Epochs", "RunAgain",
)  # fmt: skip
HIDDEN = ("IgnoreNonfinite", "Overwrite", "BrickSize", "LearningRate", "Optimizer", "Device")
READ = """
    proxy = GetActiveSource().SMProxy
    result = [proxy.GetProperty(n).GetElement(0) for n in ("Networks", "Parameters", "EachStep")]
"""


def test_the_panel_tells_what_to_expect(tmp_path: Path) -> None:
    volumes = [blob(x, 32) for x in (0.3, 0.4)]
    series = write_series(tmp_path / "series", volumes, (1.0, 2.0))
    archive, state = tmp_path / "run.minr", tmp_path / "state.pvsm"
    gui = Application(tmp_path)
    gui.open(series)
    gui.apply()
    gui.python("from paraview import smtrace; smtrace.start_trace()")
    gui.add_filter("MetaINREncode")
    for name in (*SEEN, *HIDDEN):
        gui.check(f"{PROPERTIES}/{name}", "visible", str(name in SEEN).lower())
    at_once = gui.python(READ)
    # Beyond the end of the slider, where the network is allowed to be.
    width = f"{PROPERTIES}/Width/IntRangeWidget/LineEdit"
    gui.event(width, "set_string", "512")
    wide = gui.python(READ)
    gui.event(width, "set_string", "12")
    gui.event(f"{PROPERTIES}/Epochs/LineEdit0", "set_string", "1")
    gui.check(f"{PROPERTIES}/Networks/Networks", "text", "1 of width 12")
    typed = gui.python(READ)
    gui.python(f"""
        encode = GetActiveSource()
        encode.Init, encode.ArchiveFile = "random", {str(archive)!r}
    """)
    gui.check(APPLY, "enabled", "true")
    gui.apply()
    gui.pause(3)
    gui.check(APPLY, "enabled", "false")
    applied = gui.python(READ + "    result.append(GetActiveSource().Width)\n")
    # Looking is no change: edited, put back.
    gui.event(width, "set_string", "13")
    gui.event("propertiesDock/propertiesPanel/Reset", "activate")
    gui.check(APPLY, "enabled", "false")
    gui.check(f"{PROPERTIES}/Networks/Networks", "text", "1 of width 12")
    trace = gui.python("from paraview import smtrace; result = smtrace.stop_trace()")
    gui.python(f"SaveState({str(state)!r})")
    output = gui.run()

    assert at_once()[0].startswith("1 of width ")
    assert at_once()[0] != typed()[0]
    assert wide()[:2] == ["1 of width 512", "1 × 790,529"]
    assert typed()[:2] == ["1 of width 12", "1 × 529"]
    assert typed()[2].startswith("about ")
    assert applied() == [*typed(), 12]
    held = Archive.open(archive)
    assert held.header.siren.width == 12
    assert "MetaINREncode" in trace()
    for text in (trace(), state.read_text()):
        assert "Unapplied" not in text
    assert "Networks" not in trace()
    assert "Traceback" not in output


def test_box_and_member_of_a_reader(tmp_path: Path) -> None:
    grid = Grid((10, 9, 8), spacing=(0.5, 1.0, 2.0), origin=(1.0, -2.0, 3.0))
    quick = EncodeConfig(siren=SirenConfig(8, 1, 10.0), init="random", epochs=1)
    values = [blob(x, 10)[:8, :9, :, None] for x in (0.3, 0.7)]
    series = [ArraySeries([v], grid=grid, times=(1.0,), array="speed") for v in values]
    encode(series[0], tmp_path / "plain.minr", config=quick)
    runs = EnsembleSeries([Run("a", series[0]), Run("b", series[1])])
    encode(runs, tmp_path / "both.minr", config=quick)
    gui = Application(tmp_path)
    gui.open(tmp_path / "plain.minr")
    gui.apply()
    gui.check(f"{PROPERTIES}/Member", "visible", "false")
    gui.check(f"{PROPERTIES}/Box", "visible", "false")
    gui.event(f"{PROPERTIES}/UseBox/CheckBox", "set_boolean", "true")
    gui.check(f"{PROPERTIES}/Box", "visible", "true")
    for i, end in enumerate(("1", "5.5", "-2", "6", "3", "17")):
        gui.check(f"{PROPERTIES}/Box/DoubleLineEdit{i}", "text", end)
    gui.event(f"{PROPERTIES}/Box/DoubleLineEdit0", "set_string", "3")
    gui.apply()
    bounds = gui.python("result = GetActiveSource().GetDataInformation().GetBounds()")
    gui.event(f"{PROPERTIES}/Resolution/ComboBox", "set_string", "scale")
    gui.check(f"{PROPERTIES}/Scale", "visible", "true")
    gui.check(f"{PROPERTIES}/Dimensions", "visible", "false")
    gui.event("propertiesDock/propertiesPanel/Reset", "activate")
    gui.open(tmp_path / "both.minr")
    gui.apply()
    gui.check(f"{PROPERTIES}/Member", "visible", "true")
    assert "Traceback" not in gui.run()
    assert bounds() == [3.0, 5.5, -2.0, 6.0, 3.0, 17.0]
