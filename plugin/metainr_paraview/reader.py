"""Meta-INR Reader: a ``.minr`` file in File > Open."""

from __future__ import annotations

from metainr_core.errors import SettingsError

from .properties import properties
from .volume import ArchiveSource


@properties(FileName="")
class MetaINRReader(ArchiveSource):
    """The decoded archive ``FileName``."""

    label = "Meta-INR Reader"

    def __init__(self) -> None:
        super().__init__(nInputPorts=0)

    def archive_path(self) -> str:
        if not self.values["FileName"]:
            raise SettingsError("FileName is empty; choose a .minr file")
        return self.values["FileName"]
