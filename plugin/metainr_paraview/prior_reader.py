"""Meta-INR Prior Reader: a prior in File > Open."""

from __future__ import annotations

from typing import Any

from metainr_core.errors import SettingsError

from .filter import MetaINRFilter, Progress
from .history import fill_history
from .properties import properties


@properties(FileName="")
class MetaINRPriorReader(MetaINRFilter):
    """The training history of the prior ``FileName``, as Meta-INR Pretrain gives it."""

    label = "Meta-INR Prior Reader"

    def __init__(self) -> None:
        super().__init__(nInputPorts=0)

    def run(self, inInfo: Any, output: Any, progress: Progress) -> None:
        from metainr_core import Prior

        path = self.values["FileName"]
        if not path:
            raise SettingsError("FileName is empty; choose a .safetensors file")
        if self.GetUpdatePiece():
            return  # another process has all of it
        prior = Prior.load(path)
        if not prior.history:
            self.report(
                f"{path} is an archive's copy of a prior, which keeps no training history; the"
                " file that Meta-INR Pretrain wrote has it",
                "Warning",
            )
        fill_history(output, prior, path)
