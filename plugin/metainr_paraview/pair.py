"""A filter of two image series, whose outputs are of one time: extents and times."""

from __future__ import annotations

from typing import Any, ClassVar

from vtkmodules.vtkCommonCore import vtkInformationVector
from vtkmodules.vtkCommonDataModel import vtkDataObject
from vtkmodules.vtkCommonExecutionModel import vtkAlgorithm, vtkStreamingDemandDrivenPipeline

from metainr_core.errors import MetaINRError
from metainr_core.grid import Grid

from .filter import OneProcessFilter, remove_times
from .images import EMPTY_EXTENT, announce_grid, announced_grid, array_association
from .moments import moments

_PIPELINE = vtkStreamingDemandDrivenPipeline


class PairFilter(OneProcessFilter):
    """Inputs: image data on ports 0 and 1. All outputs have the times that both inputs have.

    ``image_port``: the output that is image data, on the part of the first input's grid that both
    inputs cover.
    """

    image_port: ClassVar[int]

    def __init__(self) -> None:
        super().__init__(nInputPorts=2, inputType="vtkDataObject")  # as TableFilter

    def RequestInformation(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        inputs = [inInfo[port].GetInformationObject(0) for port in (0, 1)]
        outputs = [outInfo.GetInformationObject(port) for port in range(len(self.output_types))]
        grid: Grid | None = None
        times: list[float] = []
        # What is wrong is told when data is asked for: once, and not while a state is loaded.
        try:
            association = array_association(self) or "point"
            first, second = (announced_grid(info, association) for info in inputs)
            if first and second:
                grid = first.overlap(second)
            steps = [info.Get(_PIPELINE.TIME_STEPS()) or () for info in inputs]
            times = [moment.time for moment in moments(*steps)] if any(steps) else []
        except (MetaINRError, ImportError):
            pass
        for info in outputs:
            remove_times(info)
            if times:
                info.Set(_PIPELINE.TIME_STEPS(), times, len(times))
                info.Set(_PIPELINE.TIME_RANGE(), (times[0], times[-1]), 2)
        announce_grid(outputs[self.image_port], grid)
        outputs[self.image_port].Remove(vtkAlgorithm.CAN_PRODUCE_SUB_EXTENT())
        return 1

    def RequestUpdateExtent(self, request: Any, inInfo: Any, outInfo: Any) -> int:
        # VTK would ask both inputs for the extent that is asked of the difference.
        for port in (0, 1):
            info = inInfo[port].GetInformationObject(0)
            if info.Has(_PIPELINE.WHOLE_EXTENT()):
                whole = info.Get(_PIPELINE.WHOLE_EXTENT())
                info.Set(_PIPELINE.UPDATE_EXTENT(), whole, 6)
        return 1

    def RequestData(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        # All outputs become those of the one time that was asked of one of them. VTK has to know
        # of each, or it would not run again for an output whose own time was another one.
        info = inInfo[0].GetInformationObject(0)
        key = _PIPELINE.UPDATE_TIME_STEP()
        for port in range(len(self.output_types)):
            output = outInfo.GetInformationObject(port)
            output.Remove(key)
            if info.Has(key):
                output.Set(key, info.Get(key))
                data = vtkDataObject.GetData(outInfo, port).GetInformation()
                data.Set(vtkDataObject.DATA_TIME_STEP(), info.Get(key))
        super().RequestData(request, inInfo, outInfo)
        if vtkDataObject.GetData(outInfo, self.image_port).GetNumberOfPoints() == 0:
            # VTK would run again, and tell the error again, for the extent that is missing.
            output = outInfo.GetInformationObject(self.image_port)
            announce_grid(output, None)
            output.Set(_PIPELINE.UPDATE_EXTENT(), EMPTY_EXTENT, 6)
        return 1
