"""Meta-INR Reader: a ``.minr`` file in File > Open."""

from __future__ import annotations

import json
from pathlib import Path

from metainr_core.errors import DAMAGE, MetaINRError, SettingsError
from metainr_core.grid import Grid

from .properties import properties
from .volume import ArchiveSource


@properties(FileName="")
class MetaINRReader(ArchiveSource):
    """The decoded archive ``FileName``."""

    label = "Meta-INR Reader"
    flat = False

    def __init__(self) -> None:
        super().__init__(nInputPorts=0)

    def CanReadFile(self, path: str) -> int:
        """Whether File > Open takes this reader: ParaView's choice of a representation can depend
        on the reader only, and a volume rendering needs some thickness."""
        return int(_is_flat(path) == self.flat)

    def archive_path(self) -> str:
        if not self.values["FileName"]:
            raise SettingsError("FileName is empty; choose a .minr file")
        return self.values["FileName"]


class MetaINRFlatReader(MetaINRReader):
    """The same for a grid that is one point thick along some axis."""

    label = "Meta-INR Flat Reader"
    flat = True


def _is_flat(path: str) -> bool:
    """Of an archive with an index; others are shown, or found to be damaged, as volumes."""
    try:
        extent = Grid.from_json(json.loads(Path(path).read_bytes())["grid"]).extent
    except (OSError, MetaINRError, *DAMAGE):
        return False
    return any(low == high for low, high in zip(extent[::2], extent[1::2], strict=True))
