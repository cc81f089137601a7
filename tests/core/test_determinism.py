"""The same again is the same to the last bit: on a CPU, with one library."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import metainr_core
from metainr_core import fused
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.pretraining import pretrain
from metainr_core.series import ArraySeries
from metainr_core.step_encoder import StepEncoder

Maker = Callable[..., ArraySeries]
BRICKS = SirenConfig(8, 1, 8.0, brick_size=6)
ENCODINGS: dict[str, dict[str, Any]] = {
    "prior": {"init": "meta"},
    "previous": {"init": "previous", "key_interval": 2},
    "bricks": {"init": "random", "siren": BRICKS},
    "ratio": {"init": "meta", "target_ratio": 1.5},
    "bound": {"init": "meta", "max_error": 0.1},
    "bf16": {"init": "meta", "precision": "bf16"},
    "paper": {"init": "meta", **{"optimizer": "adam", "schedule": "constant", "selection": "all"}},
}


@pytest.fixture(params=["fused", "torch"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(fused, "library", lambda: None)
    elif fused.library() is None:
        pytest.skip("no compiler")
    return str(request.param)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def contents(path: Path) -> dict[int, tuple[bytes, bytes]]:
    """Of every step the networks' and the decoded values' bytes."""
    archive = Archive.open(path)
    return {
        step: (
            archive.load_step(step).flat().numpy().tobytes(),
            archive.decode(step, device="cpu").tobytes(),
        )
        for step in archive.steps
    }


@pytest.mark.parametrize(
    ("library", "outer"),
    [
        *(("fused", outer) for outer in ("reptile", "fomaml", "pooled")),
        ("torch", "reptile"),
    ],
    indirect=["library"],
)
def test_a_prior_does_not_depend_on_threads(
    make_series: Maker,
    learning: PretrainConfig,
    library: str,
    threads: Callable[[int], None],
    outer: str,
) -> None:
    rate = 0.01 if outer in ("fomaml", "maml") else 0.0
    config = dataclasses.replace(learning, outer=outer, outer_learning_rate=rate, outer_steps=2)
    digests = set()
    for count in (1, 2):
        threads(count)
        digests.add(pretrain(make_series(), config).digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("library", "name"),
    [*(("fused", name) for name in ENCODINGS), ("torch", "prior"), ("torch", "bricks")],
    indirect=["library"],
)
def test_steps_do_not_depend_on_threads_or_company(
    tmp_path: Path,
    make_series: Maker,
    learning: PretrainConfig,
    quick: EncodeConfig,
    library: str,
    threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    changes = ENCODINGS[name]
    series = make_series(steps=3)
    prior = None
    if changes["init"] == "meta":
        prior = pretrain(series, dataclasses.replace(learning, outer_steps=2))
    config = dataclasses.replace(quick, **{"siren": None if prior else quick.siren, **changes})

    def made(path: Path, count: int, size: int, *parts: range) -> dict[int, tuple[bytes, bytes]]:
        threads(count)
        monkeypatch.setattr(StepEncoder, "steps_at_once", lambda self: size)
        for part in parts:
            encode(series, path, config=config, prior=prior, steps=part)
        return contents(path)

    first = made(tmp_path / "a.minr", 1, 1, range(3))
    assert len(first) == 3
    # A ratio is of the whole archive, so of all the steps that it will hold.
    parts = [range(3)] if name == "ratio" else [range(2), range(2, 3)]
    assert made(tmp_path / "b.minr", 2, 2, *parts) == first


WORK = """
import json, sys, numpy as np
from metainr_core import EncodeConfig, PretrainConfig, Archive, ArraySeries, encode, pretrain
from metainr_core.config import SirenConfig
random = np.random.default_rng(1)
values = [random.normal(size=(8, 9, 10)).astype("float32").cumsum(0).cumsum(1) for _ in range(2)]
series = ArraySeries(values)
small = {"siren": SirenConfig(16, 1, 10.0), "device": "cpu"}
for preset in ("default", "paper"):
    learn = PretrainConfig.preset(preset, **small, outer_steps=2, inner_steps=4, lambda_t=1)
    prior = pretrain(series, learn, f"{preset}.safetensors")
    config = EncodeConfig.preset(preset, siren=small["siren"], device="cpu", epochs=2)
    archive = encode(series, f"{preset}.minr", prior=prior, config=config)
    for step in (0, 1):
        archive.decode(step, device="cpu").tofile(f"{preset}_{step}.raw")
"""


def test_processes_do_the_same(tmp_path: Path) -> None:
    """Whatever Python's hashes are, and with both presets: all but the seconds that it took."""
    root = str(Path(metainr_core.__file__).parents[1])
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed}
        environment["OMP_NUM_THREADS"] = seed
        command = [sys.executable, "-W", "ignore", "-c", WORK]
        subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
        files = {p.name: p.read_bytes() for p in folder.rglob("*.raw")}
        assert len(files) == 4
        digests = {n: hashlib.sha256(data).hexdigest() for n, data in files.items()}
        for preset in ("default", "paper"):
            rows = json.loads((folder / f"{preset}.minr").read_text())["steps"]
            timed = ("seconds", "sha256", "bytes", "ratio")  # the seconds are in the file, too
            digests[preset] = str([{k: v for k, v in r.items() if k not in timed} for r in rows])
        found.append(digests)
    assert found[0] == found[1]
