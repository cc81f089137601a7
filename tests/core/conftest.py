"""Small series and settings for the core's tests: every fit takes a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.errors import Cancelled
from metainr_core.grid import Grid
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries, Progress
from metainr_core.step_encoder import StepEncoder
from metainr_core.training import Trainer
from tests.core.archives import HEADER, INFO, networks, record
from tests.core.command_line import write_dataset

# The same examples in every run, no files left behind, no failures on a busy machine.
settings.register_profile("plain", database=None, deadline=None, derandomize=True)
settings.load_profile("plain")

TINY = SirenConfig(width=16, hidden_layers=1, omega_0=10.0)


def waves(
    steps: int = 4,
    dims: tuple[int, int, int] = (12, 10, 8),
    components: int = 1,
    phase: float = 0.0,
    **keywords: Any,
) -> ArraySeries:
    """A smooth field that changes slowly, about -1.5 to 1.5."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in dims[::-1]), indexing="ij")
    arrays = [
        np.stack(
            [
                np.sin(2 * x + 0.2 * t + c + phase) * np.cos(1.5 * y) + 0.5 * z * np.sin(x + c)
                for c in range(components)
            ],
            axis=-1,
        ).astype(np.float32)
        for t in range(steps)
    ]
    keywords.setdefault("grid", Grid(dims))
    return ArraySeries(arrays, **keywords)


@pytest.fixture(scope="session")
def make_series() -> Callable[..., ArraySeries]:
    return waves


@pytest.fixture(scope="session")
def tiny() -> SirenConfig:
    return TINY


@pytest.fixture(scope="session")
def quick() -> EncodeConfig:
    """Two passes from random weights, plain arithmetic."""
    return EncodeConfig(
        siren=TINY,
        init="random",
        epochs=2,
        batch_size=128,
        learning_rate=3e-3,
        precision="fp32",
        device="cpu",
    )


@pytest.fixture(scope="session")
def learning() -> PretrainConfig:
    """A few rounds of Reptile, plain arithmetic."""
    return PretrainConfig(
        siren=TINY,
        lambda_t=2,
        fraction=0.1,
        outer_steps=8,
        inner_steps=8,
        tasks=2,
        batch_size=128,
        learning_rate=3e-3,
        precision="fp32",
        device="cpu",
    )


@pytest.fixture(scope="session")
def prior(learning: PretrainConfig) -> Prior:
    return pretrain(waves(), learning)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a series of 6 steps in ``flow/``."""
    write_dataset(tmp_path / "flow", waves(steps=6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive.create(tmp_path / "run.minr", HEADER, INFO)
    for step in range(3):
        made.write_step(record(step), networks(step))
    made.write_index()
    return made


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> None:
        raise AssertionError("nothing was to be trained")

    monkeypatch.setattr(Trainer, "run", run)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cores there are."""
    monkeypatch.setattr(StepEncoder, "steps_at_once", lambda self: 1)


@pytest.fixture
def stop_after() -> Callable[[int], Progress]:
    """``stop_after(n)``: a progress callback that cancels at its n-th call."""

    def make(calls: int) -> Progress:
        left = calls

        def progress(fraction: float, message: str) -> None:
            nonlocal left
            assert 0 <= fraction <= 1
            left -= 1
            if left <= 0:
                raise Cancelled("enough")

        return progress

    return make


@pytest.fixture
def cuda() -> torch.device:
    """The CUDA device; the test is skipped where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")
