"""Meta-INR Encode: an image series to an archive of weights, and the table of its steps."""

from __future__ import annotations

from typing import Any

from metainr_core.config import EncodeConfig
from metainr_core.errors import Cancelled, SettingsError
from metainr_core.report import warn_of_misses

from .filter import Progress, TableFilter, stamp
from .properties import NETWORK, PRESET, properties, settings
from .series import PipelineSeries
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
class MetaINREncode(TableFilter):
    """One row per encoded time step; the weights are in ``ArchiveFile``.

    Field data: ``minr_archive``, the path, from which Meta-INR Decode reads.
    """

    label = "Meta-INR Encode"

    def run(self, inInfo: Any, output: Any, progress: Progress) -> None:
        from metainr_core import Archive, encode

        path = self.values["ArchiveFile"]
        if not path:
            raise SettingsError("ArchiveFile is empty; name the .minr file to write")
        prior = self._prior()
        ignore = bool(self.values["IgnoreNonfinite"])
        with PipelineSeries.opened(self, ignore_nonfinite=ignore) as series:
            base = prior.siren_config if prior else None
            config = settings(self.values, EncodeConfig, series, base)
            overwrite = bool(self.values["Overwrite"])
            before = stamp(path)
            try:
                archive = encode(
                    series, path, prior=prior, config=config, overwrite=overwrite,
                    progress=progress,
                )  # fmt: skip
            except Cancelled:
                if stamp(path) == before:
                    raise
                archive = Archive.open(path)
                done = f"{len(archive.steps)} of {len(series)} steps"
                self.report(f"stopped; {path} keeps {done}; Run Again continues", "Warning")
            else:
                warn_of_misses(archive)
        fill_table(output, COLUMNS, archive.records)
        add_field_text(output, ARCHIVE_ARRAY, path)

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
