"""Meta-INR Pretrain: an image series to initial weights, and the table of their training."""

from __future__ import annotations

from typing import Any

from metainr_core.config import PretrainConfig
from metainr_core.errors import Cancelled, SettingsError

from .filter import Progress, TableFilter, stamp
from .properties import NETWORK, PRESET, properties, settings
from .series import PipelineSeries
from .tables import add_field_text, add_field_value, fill_table

PRIOR_ARRAY = "minr_prior"
COLUMNS = {"round": int, "loss_before": float, "loss_after": float, "seconds": float}


@properties(
    PriorFile="", Preset="default", **NETWORK, Sampling=PRESET, LambdaS=-1, LambdaT=-1,
    Fraction=-1.0, Outer=PRESET, OuterSteps=-1, InnerSteps=-1, Tasks=-1, BatchSize=-1,
    Optimizer=PRESET, LearningRate=-1.0, InnerFloor=-1.0, WeightDecay=-1.0, OuterLearningRate=-1.0,
    Precision=PRESET, Device="auto", Seed=0, IgnoreNonfinite=0,
)  # fmt: skip
class MetaINRPretrain(TableFilter):
    """One row per round of pretraining; the prior is in ``PriorFile``.

    Field data: ``minr_prior`` (path), ``voxel_share`` (of the series' voxels that were read).
    """

    label = "Meta-INR Pretrain"

    def run(self, inInfo: Any, output: Any, progress: Progress) -> None:
        from metainr_core import Prior, pretrain

        path = self.values["PriorFile"]
        if not path:
            raise SettingsError("PriorFile is empty; name the .safetensors file to write")
        ignore = bool(self.values["IgnoreNonfinite"])
        with PipelineSeries.opened(self, ignore_nonfinite=ignore) as series:
            config = settings(self.values, PretrainConfig, series)
            before = stamp(path)
            try:
                prior = pretrain(series, config, path, progress=progress)
            except Cancelled:
                if stamp(path) == before:
                    raise
                prior = Prior.load(path)
                done = f"{len(prior.history)} of {config.outer_steps} rounds"
                self.report(f"stopped; {path} keeps {done}; Run Again continues", "Warning")
        fill_table(output, COLUMNS, prior.history)
        add_field_text(output, PRIOR_ARRAY, path)
        add_field_value(output, "voxel_share", prior.voxel_share)
