"""Meta-INR Encode: an image series to an archive of weights, and the table of its steps."""

from __future__ import annotations

from typing import Any

from metainr_core.config import EncodeConfig
from metainr_core.errors import SettingsError
from metainr_core.report import warn_of_misses
from metainr_core.series import Progress as CoreProgress

from .background import Job, LongFilter
from .estimate import ReadOuts
from .filter import stamp
from .images import array_choice
from .properties import NETWORK, PRESET, properties, settings
from .series import Here, PipelineSeries, Upstream
from .tables import add_field_text, fill_table

ARCHIVE_ARRAY = "minr_archive"
COLUMNS = {
    "step": int, "time": float, "psnr": float, "psnr_series": float, "max_error": float,
    "seconds": float, "bytes": int, "ratio": float, "epochs": int,
}  # fmt: skip


@properties(
    ArchiveFile="", PriorFile="", Preset="default", Init="meta", KeyInterval=8, **NETWORK,
    TargetPSNR=0.0, MaxError=0.0, Weights=PRESET, CodingLoss=-1.0,
    Epochs=-1, BatchSize=-1, Optimizer=PRESET, LearningRate=-1.0, Schedule=PRESET,
    Selection=PRESET, Adapt=PRESET, WeightDecay=-1.0, Precision=PRESET, Device="auto", Seed=0,
    IgnoreNonfinite=0, Overwrite=0,
)  # fmt: skip
class MetaINREncode(ReadOuts, LongFilter):
    """One row per encoded time step; the weights are in ``ArchiveFile``.

    Field data: ``minr_archive``, the path, from which Meta-INR Decode reads.
    """

    label = "Meta-INR Encode"
    awaited = "PriorFile"

    def job(self) -> Job:
        return _Encoding(self)


class _Encoding(Job):
    """Fitting into ``ArchiveFile``, with the settings that the filter has now."""

    def __init__(self, algorithm: MetaINREncode):
        self.values = dict(algorithm.values)
        self.path = self.values["ArchiveFile"]
        if not self.path:
            raise SettingsError("ArchiveFile is empty; name the .minr file to write")
        self.upstream, self.array = Upstream(algorithm), array_choice(algorithm)
        self.before = stamp(self.path)
        self.steps = 0

    def run(self, progress: CoreProgress, here: Here) -> None:
        from metainr_core import encode

        self.upstream.here = here
        prior = self._prior()
        ignore = bool(self.values["IgnoreNonfinite"])
        opened = PipelineSeries.opened(self.upstream, self.array, ignore_nonfinite=ignore)
        with opened as series:
            base = prior.siren_config if prior else None
            config = settings(self.values, EncodeConfig, series, base)
            overwrite = bool(self.values["Overwrite"])
            self.steps = len(series)
            archive = encode(
                series, self.path, prior=prior, config=config, overwrite=overwrite,
                progress=progress,
            )  # fmt: skip
        self.before = None
        warn_of_misses(archive)

    def show(self, output: Any) -> None:
        from metainr_core import Archive

        own = stamp(self.path) != self.before  # else it is of another series, or there is none
        records = Archive.open(self.path).records if own else []
        # VTK complains about a chart's line with one point.
        fill_table(output, COLUMNS, [] if len(records) == 1 < self.steps else records)
        if own:
            add_field_text(output, ARCHIVE_ARRAY, self.path)

    def kept(self) -> str:
        from metainr_core import Archive

        if stamp(self.path) == self.before:
            return ""
        return f"{self.path} keeps {len(Archive.open(self.path).steps)} of {self.steps} steps"

    def _prior(self) -> Any:
        """The prior to start from; None with random weights."""
        from metainr_core import Prior

        path, init = self.values["PriorFile"], self.values["Init"]
        if init == "random":
            return None
        if path:
            return Prior.load(path)
        if init == "previous":
            return None
        raise SettingsError(
            f"PriorFile is empty, which Init={init} needs; choose the file that Meta-INR Pretrain"
            " wrote, or set Init to random"
        )
