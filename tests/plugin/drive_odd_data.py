"""Run by pvpython: odd series through the proxies, all in one process.

drive_odd_data.py XML CASES(JSON file) FOLDER: CASES has for each name the path of a .pvd or .vti,
and whether to ignore non-finite values. The last line printed is JSON: for each name what was
printed, and what came out.
"""

import json
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from paraview import servermanager, simple
from vtkmodules import vtkCommonDataModel as model
from vtkmodules.util.numpy_support import vtk_to_numpy

xml, given, folder = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
simple.LoadPlugin(xml, remote=False, ns=vars(simple))
NETWORK = {"Width": 16, "HiddenLayers": 1, "Omega0": 5.0}
QUICK = {"OuterSteps": 8, "InnerSteps": 8, "Tasks": 2, "BatchSize": 64, **NETWORK}
FIT = {"Epochs": 30, "LearningRate": 3e-3}


def printed(work: Callable[[], Any]) -> tuple[list[str], Any]:
    """What was printed to stderr, also by VTK, and what ``work`` returns."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+") as file:
        os.dup2(file.fileno(), 2)
        try:
            result = work()
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return [line for line in file.read().splitlines() if line.strip()], result


def values(source: Any, time: float, name: str) -> np.ndarray:
    source.UpdatePipeline(time)
    image = servermanager.Fetch(source)
    point, cell = image.GetPointData().GetArray(name), image.GetCellData().GetArray(name)
    return vtk_to_numpy(point or cell).astype(np.float64)


def column(table: Any, name: str) -> list[float]:
    found = servermanager.Fetch(table)
    rows = range(found.GetNumberOfRows())
    return [found.GetValueByName(row, name).ToDouble() for row in rows]


def through(number: int, source: Any, name: str, association: str, ignore: bool) -> dict[str, Any]:
    """From a series to its decoded steps."""
    prior, archive = str(folder / f"{number}.safetensors"), str(folder / f"{number}.minr")
    common = {"Input": source, "Scalars": [association, name], "IgnoreNonfinite": int(ignore)}
    found: dict[str, Any] = {}

    def pretrain() -> None:
        made = simple.MetaINRPretrain(PriorFile=prior, **common, **QUICK)
        made.UpdatePipeline()
        found["rounds"] = made.GetDataInformation().GetNumberOfRows()
        found["accepts"] = bool(made.GetProperty("Input").SMProperty.IsInDomains())

    def encode() -> None:
        made = simple.MetaINREncode(PriorFile=prior, ArchiveFile=archive, **FIT, **common)
        made.UpdatePipeline()
        found["psnr"] = column(made, "psnr")
        if not found["psnr"]:
            return
        decode = simple.MetaINRDecode(Input=made)
        decode.UpdatePipeline()
        found["times"] = list(decode.TimestepValues)
        source.UpdatePipeline(found["times"][0])
        grids = [p.GetDataInformation() for p in (decode, source)]
        found["extents"] = [list(grid.GetExtent()) for grid in grids]
        found["bounds"] = [list(grid.GetBounds()) for grid in grids]
        found["errors"] = []
        if not source.GetClientSideObject().GetOutputDataObject(0).IsA("vtkImageData"):
            return  # an image in something else
        for time in (found["times"][0], found["times"][-1]):
            original, other = (values(s, time, name) for s in (source, decode))
            found["errors"].append(float(np.nanmax(np.abs(original - other))))
        found["max_error"] = [column(made, "max_error")[n] for n in (0, -1)]

    found["pretrain"] = printed(pretrain)[0]
    if os.path.exists(prior):
        found["encode"] = printed(encode)[0]
    return found


def holder(data: Any) -> Any:
    source = simple.TrivialProducer()
    source.GetClientSideObject().SetOutput(data)
    return source


def image_of(path: str) -> Any:
    reader = simple.XMLImageDataReader(FileName=[path])
    reader.UpdatePipeline()
    image = model.vtkImageData()
    image.DeepCopy(reader.GetClientSideObject().GetOutputDataObject(0))
    return image


def kinds(path: str) -> dict[str, Any]:
    """Other kinds of data than images."""
    image = image_of(path)
    uniform = model.vtkUniformGrid()
    uniform.DeepCopy(image)
    blanked = model.vtkUniformGrid()
    blanked.DeepCopy(image)
    blanked.BlankPoint(5)
    parts, halves = model.vtkPartitionedDataSet(), model.vtkPartitionedDataSet()
    parts.SetPartition(0, image)
    halves.SetPartition(0, image)
    halves.SetPartition(1, uniform)
    collection = model.vtkPartitionedDataSetCollection()
    collection.SetPartitionedDataSet(0, parts)
    blocks, several, grids = (model.vtkMultiBlockDataSet() for _ in range(3))
    blocks.SetBlock(0, image)
    several.SetBlock(0, image)
    several.SetBlock(1, uniform)
    grids.SetBlock(0, model.vtkRectilinearGrid())
    others = {
        name: getattr(model, f"vtk{name}")()
        for name in ("RectilinearGrid", "StructuredGrid", "UnstructuredGrid", "PolyData", "Table",
                     "OverlappingAMR", "ImageData")
    }  # fmt: skip
    return {
        "vtkUniformGrid": uniform, "blanked": blanked, "partitioned": parts,
        "collection": collection, "multi-block": blocks, "two partitions": halves,
        "two blocks": several, "blocks of other grids": grids, **others,
    }  # fmt: skip


result: dict[str, Any] = {}
for number, (case, (path, name, association, ignore)) in enumerate(given.items()):
    series = simple.OpenDataFile(path)
    series.UpdatePipeline()
    result[case] = through(number, series, name, association, ignore)
plain = Path(given["one step"][0]).parent / "step 0 %d #1.vti"
for number, (case, data) in enumerate(kinds(str(plain)).items(), len(given)):
    result[case] = through(number, holder(data), "speed", "POINTS", False)
simple.SetActiveSource(None)
result["no input"] = {"pretrain": printed(lambda: simple.MetaINRPretrain().UpdatePipeline())[0]}
result["home"] = str(Path("~").expanduser()) == os.path.dirname(
    simple.MetaINREncode(ArchiveFile="~/x.minr").GetClientSideObject().GetArchiveFile()
)


def plain_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


for found in result.values():
    if isinstance(found, dict):
        for key in ("psnr", "errors", "max_error"):
            found[key] = [plain_number(v) for v in found.get(key, [])]
print(json.dumps(result))
