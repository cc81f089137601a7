"""File > Open and File > Save Data in ParaView's window, through its own dialogs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_core.archive import Archive
from metainr_core.config import PretrainConfig, SirenConfig
from metainr_core.pretraining import pretrain
from metainr_core.series import ArraySeries
from tests.gui.application import Application
from tests.hosts import blob, write_series

TIMES = (1.0, 2.0, 4.0)
PROPERTIES = "WriterSettingsDialog/scrollArea/qt_scrollarea_viewport/Container/ProxyWidget"
LOOK = """
source, view = GetActiveSource(), GetActiveView()
display = GetRepresentation(source, view)
scene = GetAnimationScene()
Render(view)
SaveScreenshot({picture!r}, view)
result = {{
    "names": [name for name, _ in GetSources()],
    "proxy": source.SMProxy.GetXMLName(),
    "representation": str(display.Representation),
    "colored": display.ColorArrayName[:],
    "times": list(scene.TimeKeeper.TimestepValues),
    "time": scene.AnimationTime,
}}
scene.GoToNext()
"""


def test_a_series_is_saved_and_opened(tmp_path: Path) -> None:
    volumes = [blob(x, 16) for x in (0.3, 0.5, 0.7)]
    series = write_series(tmp_path / "original", volumes, TIMES)
    saved = tmp_path / "saved.minr"
    gui = Application(tmp_path)
    gui.open(series)
    gui.apply()
    gui.python("GetAnimationScene().AnimationTime = 2.0")
    gui.menu("File", "actionFileSaveData")
    gui.event("FileSaveDialog", "filesSelected", saved)
    gui.event(f"{PROPERTIES}/Epochs/LineEdit0", "set_string", "8")
    gui.event("WriterSettingsDialog/widget/OKButton", "activate")
    stayed = gui.python("result = GetAnimationScene().AnimationTime")
    gui.python("Delete(GetActiveSource()); GetAnimationScene().AnimationTime = 1.0")
    gui.open(saved)
    gui.apply()
    pictures = [tmp_path / "first.png", tmp_path / "second.png"]
    looks = [gui.python(LOOK.format(picture=str(picture))) for picture in pictures]
    output = gui.run()
    assert "ERROR" not in output
    assert "Traceback" not in output

    assert stayed() == 2.0
    archive = Archive.open(saved)
    assert archive.times == list(TIMES)
    assert archive.info["encode"]["epochs"] == 8
    for step, volume in enumerate(volumes):
        np.testing.assert_allclose(archive.decode(step)[..., 0], volume, atol=0.2)

    for look, time in zip(looks, TIMES, strict=False):
        assert look() == {
            "names": ["saved.minr"],
            "proxy": "MetaINRReader",
            "representation": "'Volume'",
            "colored": ["POINTS", "speed"],
            "times": list(TIMES),
            "time": time,
        }
    first, second = map(pixels, pictures)
    colors = np.unique(first.reshape(-1, 3), axis=0)
    assert len(colors) > 500, "not a volume but an outline, or nothing"
    changed = np.any(first != second, axis=-1).mean()
    assert changed > 0.02, "the second time step looks like the first"


def test_files_that_are_none_and_a_prior(tmp_path: Path) -> None:
    series = ArraySeries([blob(x, 12)[..., None].astype(np.float32) for x in (0.3, 0.6)])
    prior = tmp_path / "prior.safetensors"
    settings = PretrainConfig(
        siren=SirenConfig(8, 1), outer_steps=4, inner_steps=2, tasks=2, lambda_t=1
    )
    pretrain(series, settings, prior)
    good = tmp_path / "good"
    encode_quickly(series, good / "cut.minr")
    cut = tmp_path / "cut.minr"
    shutil.copytree(good / "cut", tmp_path / "cut")
    cut.write_bytes((good / "cut.minr").read_bytes()[:300])
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"\x02\0\0\0\0\0\0\0{}")

    gui = Application(tmp_path)
    for path in (foreign, prior, cut):
        gui.open(path)
        gui.apply()
    rows = gui.python("""
        found = {name: source for (name, _), source in GetSources().items()}
        table = found["prior.safetensors"].GetDataInformation()
        views = [view.SMProxy.GetXMLName() for view in GetViews()]
        result = [sorted(found), table.GetNumberOfRows(), "MetaINRTrainingView" in views]
    """)
    gui.python(f"import shutil; shutil.copy({str(good / 'cut.minr')!r}, {str(cut)!r})")
    gui.menu("File", "actionReloadFiles")
    points = gui.python("result = GetActiveSource().GetDataInformation().GetNumberOfPoints()")
    output = gui.run()
    lines = [line for line in output.splitlines() if "ERROR: " in line]
    assert len(lines) == 2, output
    assert f"Meta-INR Prior Reader: no prior: {foreign} was not written by Meta-INR" in lines[0]
    assert f"Meta-INR Reader: {cut} is damaged" in lines[1]
    assert "Traceback" not in output
    names = ["cut.minr", "foreign.safetensors", "prior.safetensors"]
    assert rows() == [names, 4, True]
    assert points() == 12**3, "the reader is as it was before the file was put right"


def encode_quickly(series: ArraySeries, path: Path) -> None:
    from metainr_core.config import EncodeConfig
    from metainr_core.encoding import encode

    encode(series, path, config=EncodeConfig(siren=SirenConfig(8, 1), init="random", epochs=1))


def pixels(picture: Path) -> np.ndarray:
    """``(height, width, 3)`` uint8."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOImage import vtkPNGReader

    reader = vtkPNGReader()
    reader.SetFileName(str(picture))
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., :3]
