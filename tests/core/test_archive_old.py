"""Archives and priors of formats 1 and 2: plain metadata, float32 weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from metainr_core.archive import Archive
from metainr_core.prior import Prior
from metainr_core.records import with_data
from metainr_core.rounding import Rounding
from metainr_core.storage import read_metadata, save_tensors, siren_tensors
from metainr_core.weights import digest
from tests.core.archives import HEADER, INFO, networks, record


def old_file(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    path.write_bytes(save(tensors, {"metainr": json.dumps(metadata)}))


@pytest.fixture(params=[1, 2])
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """As versions before coded weights wrote them: plain metadata, float32."""
    version, path = request.param, tmp_path / "old.minr"
    (tmp_path / "old").mkdir()
    missing = ["weights", "reference", "bound"] + ["precision"] * (version == 1)
    rows = []
    for step in range(3):
        row = record(step).to_json()
        for name in missing:
            row.pop(name, None)
        metadata = {
            "kind": "step",
            "version": version,
            "header": HEADER.to_json(),
            "info": INFO,
            "record": row,
        }
        metadata["digest"] = digest(metadata, networks(step))
        file = tmp_path / "old" / f"step_{step:06d}.safetensors"
        old_file(file, siren_tensors(networks(step)), metadata)
        figures = with_data(record(step), file.read_bytes(), HEADER)
        own = {"bytes": figures.bytes, "ratio": figures.ratio, "sha256": figures.sha256}
        rows.append({**row, **own})
    index = {"format": "minr", "version": version, **HEADER.to_json(), "info": INFO, "steps": rows}
    path.write_text(json.dumps(index, indent=1))
    return path


@pytest.mark.parametrize("lost", [False, True])
def test_old_archives_open(old: Path, lost: bool) -> None:
    if lost:
        old.unlink()
    opened = Archive.open(old)
    assert opened.steps == [0, 1, 2]
    for step in (2, 0, 1):
        row = opened.record(step)
        assert (row.weights, row.reference, row.precision) == ("float32", "none", "fp32")
        assert torch.equal(opened.load_step(step).flat(), networks(step).flat())
        assert opened.decode(step).shape == (4, 5, 6, 1)


def test_old_archives_go_on_in_the_new_format(old: Path) -> None:
    opened = Archive.open(old)
    base = opened.load_step(2)
    codes = torch.full((1, len(base.tensors)), 100, dtype=torch.uint8)
    siren = base.view(Rounding.of(base, codes).round(networks(3).flat()))
    opened.write_step(record(3, weights="coded", reference="previous"), siren, codes)
    opened.write_index()
    again = Archive.open(old)
    assert again.steps == [0, 1, 2, 3]
    assert torch.equal(again.load_step(3).flat(), siren.flat())
    assert torch.equal(again.load_step(1).flat(), networks(1).flat())
    old.unlink()
    assert Archive.open(old).records == again.records


def test_old_steps_without_a_digest_that_fits_are_not_adopted(old: Path) -> None:
    shutil.copy(old.with_suffix("") / "step_000001.safetensors", old.parent / "kept")
    old.unlink()
    changed = dict(siren_tensors(networks(9)))
    file = old.with_suffix("") / "step_000001.safetensors"
    metadata = read_metadata(old.parent / "kept")
    old_file(file, changed, metadata)
    assert Archive.open(old).steps == [0, 2]


@pytest.mark.parametrize("version", [1, 2])
def test_old_priors_load(tmp_path: Path, prior: Prior, version: int) -> None:
    path = tmp_path / "p.safetensors"
    metadata = {**prior.metadata(), "version": version}
    del metadata["weights"]
    old_file(path, siren_tensors(prior.siren), metadata)
    loaded = Prior.load(path)
    assert loaded.digest == prior.digest
    assert loaded.history == prior.history
    save_tensors(path, siren_tensors(prior.siren), metadata)
    assert Prior.load(path).digest == prior.digest
