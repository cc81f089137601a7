"""Meta-INR Pretrain: an image series to initial weights, and the table of their training."""

from __future__ import annotations

from typing import Any

from metainr_core.config import PretrainConfig
from metainr_core.errors import SettingsError
from metainr_core.series import Progress as CoreProgress

from .background import Job, LongFilter
from .estimate import ReadOuts
from .filter import stamp
from .history import COLUMNS, fill_history
from .images import array_choice
from .properties import NETWORK, PRESET, properties, settings
from .series import Here, PipelineSeries, Upstream
from .tables import fill_table


@properties(
    PriorFile="", Preset="default", **NETWORK, Sampling=PRESET, LambdaS=-1, LambdaT=-1,
    Fraction=-1.0, Outer=PRESET, OuterSteps=-1, InnerSteps=-1, Tasks=-1, BatchSize=-1,
    Optimizer=PRESET, LearningRate=-1.0, InnerFloor=-1.0, WeightDecay=-1.0, OuterLearningRate=-1.0,
    Precision=PRESET, Device="auto", Seed=0, IgnoreNonfinite=0,
)  # fmt: skip
class MetaINRPretrain(ReadOuts, LongFilter):
    """One row per round of pretraining (``fill_history``); the prior is in ``PriorFile``."""

    label = "Meta-INR Pretrain"

    def job(self) -> Job:
        return _Pretraining(self)


class _Pretraining(Job):
    """Training into ``PriorFile``, with the settings that the filter has now."""

    def __init__(self, algorithm: MetaINRPretrain):
        self.values = dict(algorithm.values)
        self.path = self.values["PriorFile"]
        if not self.path:
            raise SettingsError("PriorFile is empty; name the .safetensors file to write")
        self.upstream, self.array = Upstream(algorithm), array_choice(algorithm)
        self.before = stamp(self.path)
        self.rounds = 0

    def run(self, progress: CoreProgress, here: Here) -> None:
        from metainr_core import pretrain

        self.upstream.here = here
        ignore = bool(self.values["IgnoreNonfinite"])
        opened = PipelineSeries.opened(self.upstream, self.array, ignore_nonfinite=ignore)
        with opened as series:
            config = settings(self.values, PretrainConfig, series)
            self.rounds = config.outer_steps
            pretrain(series, config, self.path, progress=progress)
        self.before = None

    def show(self, output: Any) -> None:
        from metainr_core import Prior

        if stamp(self.path) == self.before:  # of other data or settings, or none at all
            fill_table(output, COLUMNS, [])
            return
        fill_history(output, Prior.load(self.path), self.path)

    def kept(self) -> str:
        from metainr_core import Prior

        if stamp(self.path) == self.before:
            return ""
        return f"{self.path} keeps {len(Prior.load(self.path).history)} of {self.rounds} rounds"
