"""What all filters share: one line per error, progress and abort."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

from vtkmodules.util.vtkAlgorithm import VTKPythonAlgorithmBase
from vtkmodules.vtkCommonCore import vtkInformationVector, vtkOutputWindow
from vtkmodules.vtkCommonDataModel import vtkDataObject
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
from vtkmodules.vtkParallelCore import vtkMultiProcessController

from metainr_core.errors import Cancelled, MetaINRError, MetaINRWarning

from .properties import in_property_names
from .tables import add_field_text

ERROR_ARRAY = "minr_error"
PROGRESS_INTERVAL = 0.1  # seconds


class MetaINRFilter(VTKPythonAlgorithmBase):
    """Base of the filters. Subclasses set ``label`` and ``output_types`` and write ``run``.

    ``run(inInfo, output, progress)`` fills ``output``, that of port 0; those of other ports are
    ``self.GetOutputDataObject(port)``. All of them are empty before. When it raises MetaINRError
    they are emptied, and the message is shown and attached to the output of port 0 as field data
    ``minr_error``, which also reaches a client whose server runs elsewhere.
    """

    label = "Meta-INR"
    output_types: ClassVar[tuple[str, ...]] = ("vtkTable",)
    property_defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, **ports: Any):
        super().__init__(nOutputPorts=len(self.output_types), **ports)
        self.values: dict[str, Any] = dict(self.property_defaults)
        self._told: tuple[str, int] | None = None

    def FillOutputPortInformation(self, port: int, info: Any) -> int:
        info.Set(vtkDataObject.DATA_TYPE_NAME(), self.output_types[port])
        return 1

    def run(self, inInfo: Any, output: Any, progress: Progress) -> None:
        raise NotImplementedError

    def RequestData(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        empty(outInfo)
        output = vtkDataObject.GetData(outInfo, 0) if self.output_types else None
        # An abort that came too late for the last execution must not stop this one.
        self.SetAbortExecute(0)
        message = ""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = self._show_warning  # type: ignore[assignment]
                self.run(inInfo, output, Progress(self))
        except Cancelled:
            message = "stopped before anything new was finished"
        except MetaINRError as error:
            message = in_property_names(str(error))
        except ImportError as error:
            message = missing_module(error)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            message = f"not enough memory: {first_line(error)}; use smaller batches or bricks"
        finally:
            self.SetAbortExecute(0)
        if message:
            empty(outInfo)
            if output is not None:
                add_field_text(output, ERROR_ARRAY, message)
        self._tell(message)
        # 0 would add VTK's own lines about a failed request to the one that says what is wrong.
        return 1

    def _tell(self, message: str) -> None:
        """Reports an error once: VTK asks for data that were not there again and again."""
        told = message, int(self.GetExecutive().GetPipelineMTime())
        if message and told != self._told:
            self.report(message)
        self._told = told

    def _show_warning(self, message: Warning | str, *where: Any) -> None:
        if isinstance(message, MetaINRWarning):
            self.report(in_property_names(str(message)), "Warning")

    def report(self, message: str, kind: str = "Error") -> None:
        """Shows one line (``Error`` or ``Warning``) as VTK's macros do: to observers, if any,
        else in the output window, which is ParaView's Output Messages and pvpython's stderr."""
        text = f"{kind.upper()}: {self.label}: {message}\n"
        if self.HasObserver(f"{kind}Event"):
            self.InvokeEvent(f"{kind}Event", text)
        else:
            getattr(vtkOutputWindow.GetInstance(), f"Display{kind}Text")(text)


class OneProcessFilter(MetaINRFilter):
    """A filter that needs all of its input in one process."""

    def RequestData(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        controller = vtkMultiProcessController.GetGlobalController()
        if controller is None or controller.GetNumberOfProcesses() == 1:
            return super().RequestData(request, inInfo, outInfo)
        empty(outInfo)
        if controller.GetLocalProcessId() == 0:
            self.report(
                f"runs on one process, but this server has {controller.GetNumberOfProcesses()};"
                " start pvserver or pvbatch without mpiexec (one process uses all cores)"
            )
        return 1


class TableFilter(OneProcessFilter):
    """A filter with one input, whose table and other outputs do not depend on time.

    ``inputType``: not an image's where one is wanted. Of several in blocks or partitions VTK would
    run the filter for each, and crash when it updates what is before it; ``Upstream`` checks.
    """

    def __init__(self, inputType: str = "vtkDataObject") -> None:
        super().__init__(nInputPorts=1, inputType=inputType)

    def RequestInformation(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        # With time in its information the filter would run again for every time that is shown.
        for port in range(outInfo.GetNumberOfInformationObjects()):
            remove_times(outInfo.GetInformationObject(port))
        return 1


class Progress:
    """The core's progress callback: shows on the progress bar, and stops when asked to."""

    def __init__(self, algorithm: MetaINRFilter):
        self._algorithm = algorithm
        self._shown = -1.0

    def __call__(self, fraction: float, message: str) -> None:
        now = time.monotonic()
        if fraction >= 1 or now - self._shown > PROGRESS_INTERVAL:
            self._shown = now
            self._algorithm.SetProgressText(message)
            self._algorithm.UpdateProgress(min(max(fraction, 0.0), 1.0))
        # Not CheckAbort(), which makes VTK throw away the output: it shows what is finished.
        if self._algorithm.GetAbortExecute():
            raise Cancelled("stopped")


def missing_module(error: ImportError) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"ParaView's Python {version} cannot import {error.name or 'a module'}"
        f" ({first_line(error)}); start it with `metainr paraview` (a server with `metainr"
        f" pvserver`), or put the site-packages folder of a Python {version} environment with torch"
        f" and safetensors first on PYTHONPATH"
    )


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def empty(outInfo: vtkInformationVector) -> None:
    """Empties the outputs of all ports."""
    for port in range(outInfo.GetNumberOfInformationObjects()):
        vtkDataObject.GetData(outInfo, port).Initialize()


def remove_times(info: Any) -> None:
    info.Remove(vtkStreamingDemandDrivenPipeline.TIME_STEPS())
    info.Remove(vtkStreamingDemandDrivenPipeline.TIME_RANGE())


def stamp(path: str | Path) -> tuple[int, ...] | None:
    """What changes when a file is replaced; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
