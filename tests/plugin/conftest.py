"""Small time series for the plugin's tests: as a VTK source, and as files for pvpython."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core import launch
from metainr_core.grid import Grid

ROOT = Path(__file__).parents[2]
XML = ROOT / "xml" / "MetaINR.xml"

TIMES = (0.5, 1.0, 2.5, 3.0)
# Enough to run every line, and seconds on one core; too little for a good fit.
QUICK = {"Width": 8, "HiddenLayers": 1, "Precision": "fp32"}
QUICK_PRETRAIN = {
    **QUICK, "OuterSteps": 3, "InnerSteps": 2, "Tasks": 2, "BatchSize": 64, "LambdaT": 1,
}  # fmt: skip
QUICK_ENCODE = {"Epochs": 2, "BatchSize": 512, "Precision": "fp32"}


class Lab:
    """Makes series and filters for tests."""

    times = TIMES
    root = ROOT
    xml = XML
    quick_pretrain = QUICK_PRETRAIN
    quick_encode = QUICK_ENCODE
    _alive: list[Any] = []  # noqa: RUF012
    grid = Grid((16, 12, 10), spacing=(0.5, 0.25, 2.0), origin=(1.0, -2.0, 3.0))

    @staticmethod
    def wave(grid: Grid, time: float, components: int = 1) -> np.ndarray:
        """A smooth field that moves: ``(nz, ny, nx, components)`` float32."""
        axes = [np.linspace(0, 1, n) for n in grid.dims]
        z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
        parts = [np.sin(4 * x + time + c) * np.cos(3 * y - c) + z for c in range(components)]
        return np.stack(parts, axis=-1).astype(np.float32)

    @staticmethod
    def image(values: np.ndarray, grid: Grid, name: str = "speed") -> Any:
        from metainr_core.vti import make_image

        return make_image(values, grid, name)

    def waves(self, grid: Grid | None = None, components: int = 1) -> list[Any]:
        grid = grid or self.grid
        return [self.image(self.wave(grid, t, components), grid) for t in TIMES]

    def source(self, images: Sequence[Any] | None = None, times: Any = TIMES) -> Any:
        """A VTK source of one image per time (None: one image without time)."""
        made = _source(self.waves() if images is None else images, times)
        # VTK's pipeline does not keep the Python half of an algorithm alive.
        self._alive.append(made)
        return made

    def ensemble(self, path: Path) -> Path:
        """An archive with members a and b of 3 and 4 steps; of a third there is no step yet."""
        from metainr_core.config import EncodeConfig, SirenConfig
        from metainr_core.encoding import encode
        from metainr_core.ensemble import EnsembleSeries, Run
        from metainr_core.series import ArraySeries

        runs = []
        for n, (name, times) in enumerate({"a": (1, 2, 3), "b": TIMES, "c": (1,)}.items()):
            waves = [self.wave(self.grid, time + n) for time in times]
            series = ArraySeries(waves, grid=self.grid, times=times, array="speed")
            runs.append(Run(name, series))
        siren = SirenConfig(8, 1, 10.0)
        config = EncodeConfig(siren=siren, init="random", epochs=1, batch_size=512)
        encode(EnsembleSeries(runs), path, config=config, steps=range(7))
        return path

    @staticmethod
    def connect(algorithm: Any, source: Any, array: str = "speed", association: int = 0) -> Any:
        algorithm.SetInputConnection(source.GetOutputPort())
        algorithm.SetInputArrayToProcess(0, 0, 0, association, array)
        return algorithm

    @staticmethod
    def set(algorithm: Any, **values: Any) -> Any:
        for name, value in values.items():
            getattr(algorithm, f"Set{name}")(value)
        return algorithm

    @staticmethod
    def messages(algorithm: Any) -> list[str]:
        """What the algorithm reports from now on; then nothing reaches the output window."""
        found: list[str] = []

        def note(_caller: Any, _event: str, text: str) -> None:
            found.append(text)

        note.CallDataType = "string0"  # type: ignore[attr-defined]
        for event in ("ErrorEvent", "WarningEvent"):
            algorithm.AddObserver(event, note)
        return found

    @staticmethod
    def column(table: Any, name: str) -> list[float]:
        array = table.GetColumnByName(name)
        return [array.GetValue(i) for i in range(array.GetNumberOfTuples())]

    @staticmethod
    def values(image: Any, name: str = "speed", association: str = "point") -> np.ndarray:
        from metainr_core.vti import image_values

        return image_values(image, name, association)

    def write(self, folder: Path, images: Sequence[Any], times: Sequence[float] = TIMES) -> Path:
        """A ``.pvd`` of inline-binary ``.vti`` files."""
        from metainr_core.vti import write_image, write_pvd

        folder.mkdir(parents=True, exist_ok=True)
        names = [f"step_{i}.vti" for i in range(len(images))]
        for name, image in zip(names, images, strict=True):
            write_image(image, folder / name)
        write_pvd(folder / "series.pvd", names, times)
        return folder / "series.pvd"

    def drive(
        self,
        script: str,
        *arguments: object,
        environment: dict[str, str] | None = None,
        host: Sequence[str] = ("pvpython",),
    ) -> dict[str, Any]:
        """Runs a script of this folder in ParaView; returns the JSON that its last line is.

        ``output`` in it is all that the process printed.
        """
        command = [*host, str(Path(__file__).with_name(script)), str(XML), *map(str, arguments)]
        result = subprocess.run(
            command, env=environment or self.environment(), text=True, timeout=240,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
        assert result.returncode == 0, result.stdout
        assert lines, result.stdout
        return {**json.loads(lines[-1]), "output": result.stdout}

    @staticmethod
    def environment() -> dict[str, str]:
        """Of a ParaView that sees torch, the core and the plugin's modules, without the plugin."""
        folders = launch.package_folders(("torch", "safetensors", "metainr_core"))
        environment = launch.host_environment(os.environ, [*folders, ROOT / "plugin"], XML.parent)
        del environment["PV_PLUGIN_PATH"]
        return environment


def _source(images: Sequence[Any], times: Sequence[float] | None) -> Any:
    from vtkmodules.util.vtkAlgorithm import VTKPythonAlgorithmBase
    from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline as Pipeline

    class Source(VTKPythonAlgorithmBase):
        def __init__(self) -> None:
            super().__init__(nInputPorts=0, outputType="vtkImageData")
            self.reads: list[int] = []

        def RequestInformation(self, request: Any, inInfo: Any, outInfo: Any) -> int:
            info = outInfo.GetInformationObject(0)
            info.Set(Pipeline.WHOLE_EXTENT(), images[0].GetExtent(), 6)
            if times is not None:
                info.Set(Pipeline.TIME_STEPS(), times, len(times))
                info.Set(Pipeline.TIME_RANGE(), (times[0], times[-1]), 2)
            return 1

        def RequestData(self, request: Any, inInfo: Any, outInfo: Any) -> int:
            info = outInfo.GetInformationObject(0)
            step = 0
            if times is not None and info.Has(Pipeline.UPDATE_TIME_STEP()):
                asked = info.Get(Pipeline.UPDATE_TIME_STEP())
                step = int(np.argmin(np.abs(np.subtract(times, asked))))
            self.reads.append(step)
            output = vtkImageData.GetData(outInfo, 0)
            output.DeepCopy(images[step])
            if times is not None:
                output.GetInformation().Set(vtkDataObject.DATA_TIME_STEP(), times[step])
            return 1

    return Source()


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def prior_file(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prior of ``lab.source()``."""
    from metainr_paraview.pretrain import MetaINRPretrain

    path = tmp_path_factory.mktemp("prior") / "prior.safetensors"
    algorithm = lab.set(MetaINRPretrain(), PriorFile=str(path), **QUICK_PRETRAIN)
    lab.connect(algorithm, lab.source()).Update()
    return path


@pytest.fixture
def encoded(lab: Lab, prior_file: Path, tmp_path: Path) -> Any:
    """Meta-INR Encode of ``lab.source()``, updated."""
    from metainr_paraview.encode import MetaINREncode

    algorithm = lab.set(
        MetaINREncode(), PriorFile=str(prior_file), ArchiveFile=str(tmp_path / "run.minr"),
        **QUICK_ENCODE,
    )  # fmt: skip
    lab.connect(algorithm, lab.source()).Update()
    return algorithm


@pytest.fixture
def inputs(lab: Lab) -> tuple[Any, Any]:
    """A series and its reconstruction (``pairs.off``)."""
    from tests.plugin.pairs import off

    images = [lab.image(off(lab, time), lab.grid) for time in lab.times]
    return lab.source(), lab.source(images)
