"""The panel's lines about what is going to be made, before anything is made."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from metainr_core.device import describe, find_device
from metainr_core.grid import Grid

pytest.importorskip("vtkmodules")
from metainr_paraview.encode import MetaINREncode
from metainr_paraview.estimate import NO_DATA, NO_TORCH
from metainr_paraview.pretrain import MetaINRPretrain

GRID = Grid((40, 36, 30))


def lines(algorithm: Any) -> list[str]:
    names = ("Networks", "Parameters", "EachStep")
    return [getattr(algorithm, f"Get{name}")() for name in names]


@pytest.fixture
def source(lab: Any) -> Any:
    source = lab.source(lab.waves(GRID))
    source.Update()
    return source


@pytest.mark.parametrize("kind", [MetaINRPretrain, MetaINREncode])
def test_they_are_there_at_once(lab: Any, source: Any, kind: Any) -> None:
    algorithm = kind()
    assert lines(algorithm) == [NO_DATA, "", ""]
    # Before any array is chosen: the first one.
    algorithm.SetInputConnection(source.GetOutputPort())
    found = lines(algorithm)
    lab.connect(algorithm, source)
    assert lines(algorithm) == found
    networks, parameters, step = found
    assert networks.startswith("1 of width ")
    width = int(networks.split()[-1])
    count = int(parameters.split()[-1].replace(",", ""))
    assert count == 4 * width + 3 * width * (width + 1) + width + 1
    assert step.startswith("about ")
    assert step.endswith(" : 1")
    assert algorithm.GetRunsOn() == describe(find_device("auto"))
    algorithm.SetDevice("cpu")
    assert algorithm.GetRunsOn().startswith("CPU, ")


def test_an_input_that_was_never_read(lab: Any) -> None:
    algorithm = lab.connect(MetaINREncode(), lab.source())
    assert lines(algorithm) == [NO_DATA, "", ""]


def test_settings_count(lab: Any, source: Any) -> None:
    algorithm = lab.connect(MetaINREncode(), source)
    lab.set(algorithm, BrickSize=20, Width=10, HiddenLayers=2, Weights="float32", Init="random")
    assert lines(algorithm)[:2] == ["8 of width 10", "8 × 271"]
    plain = lines(algorithm)[2]
    assert "about" not in plain
    lab.set(algorithm, Weights="float16")
    assert lines(algorithm)[2] != plain
    pretrain = lab.set(lab.connect(MetaINRPretrain(), source), TargetRatio=30.0)
    wide = int(lines(pretrain)[0].split()[-1])
    pretrain.SetTargetRatio(90.0)
    assert int(lines(pretrain)[0].split()[-1]) < wide
    pretrain.SetTargetRatio(0.0)
    pretrain.SetPreset("paper")
    assert lines(pretrain)[0] == "1 of width 256"
    assert "about" not in lines(pretrain)[2]


def test_vectors_have_more_weights(lab: Any) -> None:
    counts = []
    for components in (1, 3):
        source = lab.source(lab.waves(GRID, components))
        source.Update()
        counts.append(lines(lab.set(lab.connect(MetaINREncode(), source), Width=8))[1])
    assert counts == ["1 × 257", "1 × 275"]


def test_the_network_is_that_of_the_prior(lab: Any, source: Any, tmp_path: Path) -> None:
    prior = tmp_path / "p.safetensors"
    pretrain = lab.set(lab.connect(MetaINRPretrain(), source), PriorFile=str(prior))
    lab.set(pretrain, **lab.quick_pretrain).Update()
    encode = lab.set(lab.connect(MetaINREncode(), source), PriorFile=str(prior))
    assert lines(encode)[0] == "1 of width 8"
    encode.SetInit("random")
    assert lines(encode)[0] != "1 of width 8"
    lab.set(encode, Init="meta", PriorFile=str(tmp_path / "none.safetensors"))
    first, *others = lines(encode)
    assert "none.safetensors" in first
    assert others == ["", ""]


def test_impossible_settings_are_said(lab: Any, source: Any) -> None:
    encode = lab.set(lab.connect(MetaINREncode(), source), Width=-7)
    assert "width is -7; expected 1 to 4096" in lines(encode)[0]
    lab.set(encode, Width=-1, TargetRatio=1e9)
    assert "TargetRatio 1e+09 cannot be reached" in lines(encode)[0]


def test_edited_settings_are_shown_until_they_are_applied(lab: Any, source: Any) -> None:
    encode = lab.connect(MetaINREncode(), source)
    lab.set(encode, Width=16)
    time = encode.GetMTime()
    encode.SetUnapplied(json.dumps({"Width": 24, "HiddenLayers": 1, "NoSuchThing": 3}))
    assert lines(encode)[:2] == ["1 of width 24", "1 × 721"]
    assert encode.GetMTime() == time, "a look must not make the filter run again"
    assert encode.GetWidth() == 16
    # Applied, or changed by somebody else: what was sent before no longer counts for it.
    encode.SetWidth(20)
    assert lines(encode)[0] == "1 of width 20"
    encode.SetWidth(16)
    assert lines(encode)[0] == "1 of width 16"
    encode.SetWidth(20)
    encode.SetUnapplied(None)
    assert lines(encode)[1] == "1 × 1,361"


def test_an_edited_array(lab: Any) -> None:
    images = lab.waves(GRID)
    for image in images:
        vector = lab.image(lab.wave(GRID, 0, 3), GRID, "v").GetPointData().GetArray("v")
        image.GetPointData().AddArray(vector)
    source = lab.source(images)
    source.Update()
    encode = lab.set(lab.connect(MetaINREncode(), source), Width=8)
    assert lines(encode)[1] == "1 × 257"
    encode.SetUnapplied(json.dumps({"SelectInputScalars": [0, "v"]}))
    assert lines(encode)[1] == "1 × 275"


def test_without_torch(lab: Any, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = lab.connect(MetaINREncode(), source)
    original = builtins.__import__

    def no_torch(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "torch" or name == "device":
            raise ImportError("No module named 'torch'", name="torch")
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    monkeypatch.delitem(sys.modules, "metainr_core.device")
    assert encode.GetRunsOn() == NO_TORCH
    assert lines(encode)[0].startswith("1 of width ")
