"""What Pretrain and Encode are going to make, said in their panels before Apply."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData

from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.errors import MetaINRError
from metainr_core.estimate import Estimate
from metainr_core.grid import Grid

from .filter import first_line, stamp
from .images import ASSOCIATIONS, announced_grid
from .properties import in_property_names, settings

NO_DATA = "once the input is read"
ARRAY = "SelectInputScalars"
NO_TORCH = "no PyTorch on the server: start it with metainr"


@dataclass
class Announced:
    """The series at the input, as far as it is known without reading it."""

    grid: Grid
    components: int


class ReadOuts:
    """Lines for the panel of a filter with ``values``, about what its settings mean.

    ParaView asks for them when the filter is made and after every Apply. While settings are
    edited, the client sends them as ``Unapplied`` and asks again (metainr_views.readouts).
    """

    values: dict[str, Any]
    # Edited values, each with the one that was applied then.
    _unapplied: dict[str, tuple[Any, Any]] = {}  # noqa: RUF012 (replaced, never changed)

    def SetUnapplied(self, text: str | None) -> None:
        """JSON of the properties that are edited but not applied. Not a setting of the result:
        no ``Modified()``."""
        applied = self._applied()
        edited = json.loads(text or "{}")
        self._unapplied = {n: (v, applied[n]) for n, v in edited.items() if n in applied}

    def GetNetworks(self) -> str:
        return self._lines()[0]

    def GetParameters(self) -> str:
        return self._lines()[1]

    def GetEachStep(self) -> str:
        return self._lines()[2]

    def GetRunsOn(self) -> str:
        try:
            from metainr_core.device import describe, find_device

            return describe(find_device(self._shown()["Device"]))
        except ImportError:
            return NO_TORCH
        except MetaINRError as error:
            return _line(error)

    def _applied(self) -> dict[str, Any]:
        info = self.GetInputArrayInformation(0)  # type: ignore[attr-defined]
        keys = vtkDataObject.FIELD_ASSOCIATION(), vtkDataObject.FIELD_NAME()
        return {**self.values, ARRAY: [info.Get(key) for key in keys]}

    def _shown(self) -> dict[str, Any]:
        """The settings as the panel shows them, and under ``ARRAY`` the array's association and
        name."""
        shown = self._applied()
        # Once another value is applied, the edited one is out of date.
        self._unapplied = {n: v for n, v in self._unapplied.items() if shown[n] == v[1]}
        return {**shown, **{name: new for name, (new, _) in self._unapplied.items()}}

    def _lines(self) -> tuple[str, str, str]:
        """Short ones: a panel shows about 24 letters of them."""
        values = self._shown()
        try:
            series = _announced(self, *values[ARRAY])
            if series is None:
                return NO_DATA, "", ""
            siren, config = _planned(values, series)
        except (MetaINRError, ImportError) as error:
            return _line(error), "", ""
        found = Estimate.of(siren, series.grid, series.components, config)
        coded = config.weights == "coded"
        about, digits = ("about ", 2) if coded else ("", 3)
        return (
            f"{found.networks:,} of width {siren.width}",
            f"{found.networks:,} × {found.parameters:,}",
            f"{about}{_size(found.bytes, digits)}, {_rounded(found.ratio, digits)} : 1",
        )


def _planned(values: dict[str, Any], series: Announced) -> tuple[SirenConfig, EncodeConfig]:
    """The network, and the settings that a step is encoded with. Raises MetaINRError."""
    if "ArchiveFile" in values:
        base = None
        if values["PriorFile"] and values["Init"] != "random":
            base = _network_of(values["PriorFile"], stamp(values["PriorFile"]))
        config = settings(values, EncodeConfig, series, base)
        siren = config.siren or base
    else:
        siren = settings(values, PretrainConfig, series).siren
        config = EncodeConfig.preset(values["Preset"])
    assert siren is not None  # ``settings`` chooses one where there is no base
    return siren, config


@functools.lru_cache(maxsize=8)
def _network_of(path: str, _stamp: Any) -> SirenConfig:
    from metainr_core import Prior

    return Prior.load(path).siren_config


def _announced(algorithm: Any, kind: int | None, name: str | None) -> Announced | None:
    """What is known of the first input and its array; None when it has not been read.

    ``kind``: VTK's number for point or cell data. ``name``: of the array; None is the first one.
    """
    if not algorithm.GetNumberOfInputConnections(0):
        return None
    connection = algorithm.GetInputConnection(0, 0)
    producer, port = connection.GetProducer(), connection.GetIndex()
    association = ASSOCIATIONS.get(kind, "point") if name else "point"
    grid = announced_grid(producer.GetOutputInformation(port), association)
    data = producer.GetOutputDataObject(port)
    if grid is None or not isinstance(data, vtkImageData):
        return None
    arrays = data.GetCellData() if association == "cell" else data.GetPointData()
    array = arrays.GetArray(name) if name else arrays.GetScalars() or arrays.GetArray(0)
    return Announced(grid, array.GetNumberOfComponents()) if array else None


def _line(error: BaseException) -> str:
    return NO_TORCH if isinstance(error, ImportError) else in_property_names(first_line(error))


def _size(count: float, digits: int) -> str:
    """Bytes as file managers show them."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{_rounded(count, digits)} {unit}"
        count /= 1000
    return f"{_rounded(count, digits)} GB"


def _rounded(number: float, digits: int) -> str:
    return f"{float(f'{number:.{digits}g}'):,.10g}"
