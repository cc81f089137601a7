"""Meta-INR Writer: File > Save Data as a ``.minr`` archive."""

from __future__ import annotations

import os
from typing import Any

from metainr_core.config import EncodeConfig, PretrainConfig
from metainr_core.errors import SettingsError
from metainr_core.report import warn_of_misses
from metainr_core.series import Progress as CoreProgress

from .encode import ARCHIVE_ARRAY
from .filter import OneProcessFilter, Progress
from .images import array_choice
from .properties import properties, settings
from .series import PipelineSeries, Upstream
from .tables import field_text

_PRETRAINING = 0.4  # of the progress bar


@properties(
    FileName="", IgnoreNonfinite=0, Preset="default", PriorFile="",
    Epochs=-1, TargetPSNR=0.0, TargetRatio=0.0,
)  # fmt: skip
class MetaINRWriter(OneProcessFilter):
    """All time steps of the input as the archive ``FileName``, once all are encoded.

    Until then, and where that fails, ``FileName`` stays what it was. Without a ``PriorFile`` a
    prior is learned first, with the same preset; the archive keeps what it needs of it.
    """

    label = "Meta-INR Writer"
    output_types = ()

    def __init__(self) -> None:
        super().__init__(nInputPorts=1, inputType="vtkDataObject")  # as TableFilter

    def Write(self) -> int:
        """What ParaView calls once the properties are set."""
        self.Modified()
        self.Update()
        return 1

    def run(self, inInfo: Any, output: None, progress: Progress) -> None:
        from metainr_core import Archive, encode
        from metainr_core.replacing import replacing

        path = self.values["FileName"]
        if not path:
            raise SettingsError("FileName is empty; name the .minr file to write")
        upstream = Upstream(self)
        self._check_source(upstream, path)
        ignore = bool(self.values["IgnoreNonfinite"])
        with (
            replacing(path) as new,
            PipelineSeries.opened(upstream, array_choice(self), ignore_nonfinite=ignore) as series,
        ):
            share = 0.0 if self.values["PriorFile"] else _PRETRAINING
            prior = self._prior(series, lambda f, m: progress(share * f, m))
            values = {**self.values, "Init": prior.kind}
            config = settings(values, EncodeConfig, series, prior.siren_config)
            encode(
                series, new, prior=prior, config=config,
                progress=lambda f, m: progress(share + (1 - share) * f, m),
            )  # fmt: skip
        warn_of_misses(Archive.open(path))

    def _prior(self, series: PipelineSeries, progress: CoreProgress) -> Any:
        from metainr_core import Prior, pretrain

        if self.values["PriorFile"]:
            return Prior.load(self.values["PriorFile"])
        return pretrain(series, settings(self.values, PretrainConfig, series), progress=progress)

    @staticmethod
    def _check_source(upstream: Upstream, path: str) -> None:
        """Raises SettingsError when the input is decoded from the archive to be replaced."""
        source = field_text(upstream.image(upstream.requested), ARCHIVE_ARRAY)
        if source and os.path.exists(path) and os.path.samefile(source, path):
            raise SettingsError(
                f"{path} is where the data come from, and would lose by being encoded again;"
                " choose another file"
            )
