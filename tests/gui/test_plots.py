"""Charts in ParaView's window: those that open on Apply, and the macro metainr_plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
pytest.importorskip("sklearn")
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOImage import vtkPNGReader

from tests.gui.application import Application
from tests.hosts import blob, write_series

TIMES = (1.0, 2.0, 4.0, 5.5)
ORANGE, BLUE, GREY = (217, 107, 26), (31, 87, 176), (140, 140, 140)
# What is in the charts' plots, whatever the properties say; and a picture of each view.
LOOK = """
import numpy as np
from metainr_views.sources import inputs, label, table_columns
from vtkmodules.util.numpy_support import vtk_to_numpy
result = dict(views=[], tables=dict(), layouts=len(GetLayouts()), sources=len(GetSources()))
for (name, _), source in GetSources().items():
    if source.SMProxy.GetXMLName().startswith("MetaINR"):
        columns = table_columns(OutputPort(source, 0)) if name != "MetaINRDecode1" else dict()
        result["tables"][name] = dict((n, c.tolist()) for n, c in columns.items())
for view in sorted(GetViews(), key=lambda v: v.SMProxy.GetGlobalID()):
    if not view.SMProxy.GetXMLName().startswith("MetaINR"):
        continue
    found = dict(type=view.SMProxy.GetXMLName(), picture=f"{FOLDER}/{len(result['views'])}.png")
    result["views"].append(found)
    found["shows"] = [
        label(r.Input) for r in view.Representations if r.SMProxy.GetProperty("Input")
    ]
    if found["type"] == "MetaINRMapView":
        found["mode"] = view.SMProxy.GetProperty("InteractionMode").GetElement(0)
        shown = next(r for r in view.Representations if hasattr(r, "ColorArrayName"))
        found["colors"] = list(shown.ColorArrayName), shown.LookupTable.RGBPoints[::4]
        bar = GetScalarBar(shown.LookupTable, view)
        found["bar"], bar.Visibility, view.OrientationAxesVisibility = bar.Visibility, 0, 0
        SaveScreenshot(found["picture"], view)
        bar.Visibility, view.OrientationAxesVisibility = 1, 1
        continue
    SaveScreenshot(found["picture"], view)
    found["titles"] = [view.LeftAxisTitle, view.BottomAxisTitle, view.RightAxisTitle]
    chart = view.GetClientSideObject().GetChart()
    found["curves"] = dict()
    for number in range(chart.GetNumberOfPlots()):
        plot = chart.GetPlot(number)
        if plot.GetInput() is None or not plot.GetVisible():
            continue  # the line of the time shown
        x, y = (
            vtk_to_numpy(plot.GetData().GetInputAbstractArrayToProcess(k, plot.GetInput()))
            for k in (0, 1)
        )
        axis = plot.GetYAxis()
        found["curves"][plot.GetLabel()] = dict(
            x=x.tolist(), y=y.tolist(), log=axis.GetLogScaleActive(),
            left=axis.GetPosition() == 0,
            range=[axis.GetUnscaledMinimum(), axis.GetUnscaledMaximum()],
        )
"""


def test_charts(tmp_path: Path) -> None:
    volumes = [blob(x, 16) for x in (0.3, 0.4, 0.6, 0.7)]
    series = write_series(tmp_path / "data", volumes, TIMES)
    gui = Application(tmp_path)
    look = f"FOLDER = {str(tmp_path)!r}{LOOK}"
    gui.macro("metainr_plot")
    gui.open(series)
    gui.apply()
    gui.add_filter("MetaINRPretrain")
    network = "Width=8, HiddenLayers=1, BrickSize=0"
    gui.python(f"""
        SetProperties(PriorFile="{tmp_path}/prior.safetensors", OuterSteps=6, Tasks=2,
                      InnerSteps=16, LambdaT=1, Fraction=0.5, {network})
    """)
    gui.apply()
    gui.pause(2)
    gui.python("SetActiveSource(FindSource('series.pvd'))")
    gui.add_filter("MetaINREncode")
    gui.python(f"""
        SetProperties(ArchiveFile="{tmp_path}/run.minr", PriorFile="{tmp_path}/prior.safetensors",
                      Epochs=20)
    """)
    gui.apply()
    gui.pause(2)
    gui.add_filter("MetaINRProjection")
    gui.python("SetProperties(Method='pca', Select=2)")
    gui.apply()
    applied = gui.python(look)
    gui.python("SetActiveSource(FindSource('series.pvd'))")
    gui.macro("metainr_plot")
    for name in ("Pretrain", "Encode", "Projection"):
        gui.python(f"SetActiveSource(FindSource('MetaINR{name}1'))")
        gui.macro("metainr_plot")
    again = gui.python(look)
    gui.python("""
        encode = FindSource("MetaINREncode1")
        decode = MetaINRDecode(registrationName="MetaINRDecode1", Input=encode)
        MetaINRCompare(registrationName="MetaINRCompare1", Reference=FindSource("series.pvd"),
                       Reconstruction=decode)
    """)
    gui.macro("metainr_plot")
    compared = gui.python(look)
    gui.macro("metainr_plot")
    twice = gui.python(look)
    output = gui.run()

    messages = [line for line in output.splitlines() if "ERROR: " in line]
    assert len(messages) == 2, output
    for line in messages:
        assert "Meta-INR plot: which table? In the Pipeline Browser select" in line
    assert "Traceback" not in output
    first, second = applied(), again()
    training, quality, mapped = first["views"]
    tables = first["tables"]
    check_training(training, tables["MetaINRPretrain1"])
    check_quality(quality, tables["MetaINREncode1"])
    check_map(mapped)
    for name in ("sources", "layouts"):
        assert second[name] == first[name]
    for view, same in zip(second["views"], first["views"], strict=True):
        assert {**view, "colors": None} == {**same, "colors": None}
    third, fourth = compared(), twice()
    check_comparison(third["views"][3:], third["tables"]["MetaINRCompare1"])
    assert fourth == third


def check_training(view: dict[str, Any], table: dict[str, list[float]]) -> None:
    assert view["type"] == "MetaINRTrainingView"
    assert view["shows"] == ["MetaINRPretrain1"]
    assert view["titles"][:2] == ["mean squared error", "round"]
    assert table["round"] == [1, 2, 3, 4, 5, 6]
    columns = {"before adapting": "loss_before", "after adapting": "loss_after"}
    check_curves(view, table, "round", columns)
    assert all(curve["log"] for curve in view["curves"].values())
    check_colors(view, ORANGE, BLUE)


def check_quality(view: dict[str, Any], table: dict[str, list[float]]) -> None:
    assert view["type"] == "MetaINRTimeView"
    assert view["shows"] == ["MetaINREncode1"]
    assert view["titles"] == ["PSNR (dB)", "time", "bytes per time step"]
    assert table["time"] == list(TIMES)
    columns = {"PSNR": "psnr", "PSNR (series)": "psnr_series", "bytes": "bytes"}
    check_curves(view, table, "time", columns)
    assert [view["curves"][name]["left"] for name in columns] == [True, True, False]
    check_colors(view, BLUE, GREY)  # both PSNR are alike here, one behind the other


def check_map(view: dict[str, Any]) -> None:
    assert view["type"] == "MetaINRMapView"
    assert view["mode"] == 1, "2D"
    assert view["shows"] == ["MetaINRProjection1"]
    assert view["bar"] == 1
    array, values = view["colors"]
    assert array == ["POINTS", "time"]
    assert (values[0], values[-1]) == (TIMES[0], TIMES[-1])
    pixels = picture(view).reshape(-1, 3).astype(int)
    red, blue = pixels[:, 0] - pixels[:, 2] > 60, pixels[:, 2] - pixels[:, 0] > 60
    assert red.sum() > 100, "no late step"
    assert blue.sum() > 100, "no early step"


def check_comparison(views: list[dict[str, Any]], table: dict[str, list[float]]) -> None:
    quality, surfaces = views
    assert table["time"] == list(TIMES), "of all time steps"
    assert quality["titles"] == ["PSNR (dB)", "time", "SSIM"]
    columns = {"PSNR": "psnr", "PSNR (series)": "psnr_series", "SSIM": "ssim"}
    check_curves(quality, table, "time", columns)
    assert [quality["curves"][name]["left"] for name in columns] == [True, True, False]
    check_colors(quality, BLUE, GREY)
    assert surfaces["titles"][:2] == ["Chamfer distance (voxels)", "time"]
    number = sum(name.startswith("chamfer_voxels_") for name in table)
    isovalues = [table[f"isovalue_{k}"][0] for k in range(number)]
    columns = {f"isosurface {v:.3g}": f"chamfer_voxels_{k}" for k, v in enumerate(isovalues)}
    check_curves(surfaces, table, "time", columns)
    check_colors(surfaces, GREY)


def check_curves(
    view: dict[str, Any], table: dict[str, list[float]], x: str, columns: dict[str, str]
) -> None:
    assert set(view["curves"]) == set(columns)
    for label, column in columns.items():
        curve = view["curves"][label]
        assert curve["x"] == table[x]
        assert curve["y"] == table[column]
        low, high = curve["range"]
        assert low <= min(curve["y"]) <= max(curve["y"]) <= high


def check_colors(view: dict[str, Any], *colors: tuple[int, int, int]) -> None:
    pixels = picture(view).astype(int)
    for color in colors:
        near = (np.abs(pixels - color) < 12).all(axis=-1)
        assert near.sum() > 50, f"no curve of colour {color} in {view['picture']}"
    assert (pixels > 250).all(axis=-1).mean() > 0.5, "the background is white"


def picture(view: dict[str, Any]) -> np.ndarray:
    """``(height, width, 3)`` uint8, the lowest row first."""
    reader = vtkPNGReader()
    reader.SetFileName(view["picture"])
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., :3]
