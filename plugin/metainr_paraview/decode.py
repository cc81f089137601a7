"""Meta-INR Decode: the archive that Meta-INR Encode wrote as image data over time."""

from __future__ import annotations

from metainr_core.errors import ArchiveError

from .encode import ARCHIVE_ARRAY
from .filter import ERROR_ARRAY
from .tables import field_text
from .volume import ArchiveSource


class MetaINRDecode(ArchiveSource):
    """The archive named by the field data ``minr_archive`` of the input table."""

    label = "Meta-INR Decode"

    def __init__(self) -> None:
        super().__init__(nInputPorts=1, inputType="vtkTable")

    def archive_path(self) -> str:
        # Which extent and which times there are is known only once the table is up to date.
        connection = self.GetInputConnection(0, 0)
        connection.GetProducer().Update(connection.GetIndex())
        table = self.GetInputDataObject(0, 0)
        path = field_text(table, ARCHIVE_ARRAY)
        if path:
            return path
        if field_text(table, ERROR_ARRAY):
            raise ArchiveError("Meta-INR Encode, the input, failed; its own message says why")
        raise ArchiveError("the input is no table of Meta-INR Encode; connect it to that filter")
