"""Priors and archives of one series: made once, kept in a folder, judged alike."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from metainr_core import (
    Archive,
    EncodeConfig,
    PretrainConfig,
    Prior,
    Series,
    SirenConfig,
    encode,
    pretrain,
)
from metainr_core.comparison import Perception, compare_volumes, default_isovalues
from metainr_core.hashing import fingerprint

Row = dict[str, Any]


@dataclass
class Fits:
    """``rows`` are those that are known already, ``prior_seconds`` of priors by their names;
    ``save`` is called when there are more."""

    series: Series
    folder: Path
    device: torch.device
    rows: list[Row]
    prior_seconds: dict[str, float]
    save: Callable[[], None]
    perception: Perception | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._isovalues = default_isovalues(self.series)

    def prior(self, config: PretrainConfig) -> tuple[Prior, float]:
        """Learned, or read where the folder has it of the same data and settings.

        And the processor's seconds for all rounds, or the clock's, where the prior was there.
        """
        name = fingerprint(config.to_json())[:12]
        share = _Share()
        prior = pretrain(self.series, config, self.folder / f"prior_{name}.safetensors")
        key = prior.digest
        if key not in self.prior_seconds:
            taken = prior.history[-1]["seconds"]
            self.prior_seconds[key] = taken * share.of(taken)
            self.save()
        return prior, self.prior_seconds[key]

    def row(self, name: str, step: int, prior: Prior | None, config: EncodeConfig) -> Row:
        """One fit and how good it is, measured or known from the same data and settings.

        ``seconds`` are those of the fit loop, as much of them as the processor worked for this
        process: what else runs on the machine does not count.
        """
        data = [self.series.scan()[step].digest, list(self.series.grid.dims)]
        made_by = fingerprint(config.to_json(), prior.digest if prior else "", data[1])[:12]
        archive_name = f"{name}_{config.epochs}_{made_by}"
        key = fingerprint(archive_name, *data)
        for known in self.rows:
            if known["key"] == key:
                self._see(known, step)
                return known
        file = self.folder / f"{archive_name}.minr"
        share = _Share()
        archive = encode(self.series, file, prior=prior, config=config, steps=[step])
        record = archive.record(step)
        row = {
            "key": key,
            "archive": archive_name,
            "step": step,
            "epochs": config.epochs,
            "seconds": record.seconds * share.of(record.seconds),
            "clock_seconds": record.seconds,
            "bytes": record.bytes,
            "archive_bytes": self._of_all_steps(archive),
            **self._judged(archive, step),
        }
        self.rows.append(row)
        self.save()
        return row

    def _of_all_steps(self, archive: Archive) -> float:
        """Bytes of an archive of the whole series, from the steps that it holds."""
        steps = [record.bytes for record in archive.records]
        return archive.total_bytes - sum(steps) + len(self.series) * mean(steps)

    def _judged(self, archive: Archive, step: int) -> dict[str, Any]:
        figures = compare_volumes(
            self.series.read(step),
            archive.decode(step, device=self.device.type),
            self.series.grid,
            isovalues=self._isovalues,
            series_width=self.series.value_range().width,
            perception=self.perception,
        ).to_json()
        surfaces = figures.pop("isosurfaces")
        distances = [surface["chamfer_voxels"] for surface in surfaces]
        # Infinite, where a surface is missing on one side, is null.
        return {**figures, "chamfer_voxels": None if None in distances else mean(distances)}

    def _see(self, row: Row, step: int) -> None:
        """LPIPS where a run before could not measure it."""
        if self.perception is None or isinstance(row.get("lpips"), float):
            return
        archive = Archive.open(self.folder / f"{row['archive']}.minr")
        decoded = archive.decode(step, device=self.device.type)
        row["lpips"] = self.perception(self.series.read(step), decoded, self.series.grid)
        self.save()

    def warm(self) -> None:
        """What is done only once, so that no clock sees it."""
        config = EncodeConfig(siren=SirenConfig(4, 1), init="random", epochs=1)
        with tempfile.TemporaryDirectory() as folder:
            encode(self.series, Path(folder) / "run.minr", config=config, steps=[0])


class _Share:
    """How much of the time that passes the processor works for this process."""

    def __init__(self) -> None:
        self._clock, self._work = time.perf_counter(), time.process_time()

    def of(self, seconds: float) -> float:
        """Since the start, for work that took ``seconds`` of the clock meanwhile.

        Threads of several cores work longer than the clock runs: 1. Also where less time has
        passed: an earlier run did the work, and only the clock of it is known.
        """
        clock, work = time.perf_counter() - self._clock, time.process_time() - self._work
        return 1.0 if clock < seconds else min(1.0, work / clock)
