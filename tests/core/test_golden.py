"""Archives of every format version, committed once, decode for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core import fused
from metainr_core.archive import Archive
from metainr_core.errors import ArchiveError
from metainr_core.hashing import fingerprint
from metainr_core.prior import Prior
from metainr_core.step_files import FORMAT_VERSION
from metainr_core.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = sorted(p.name for p in GOLDEN.glob("format*"))
EXPECTED = {
    name: json.loads((GOLDEN / name / "expected.json").read_text("utf-8")) for name in FORMATS
}
ARCHIVES = [(f, n) for f in FORMATS for n in sorted(EXPECTED[f]["archives"])]
# Shares of the largest value: tests/RELIABILITY.md, "The same result again".
CLOSE = {"fp32": 1e-5, "bf16": 0.02}


@pytest.fixture(params=ARCHIVES, ids=lambda pair: "-".join(pair))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy, as opening may write."""
    version, name = request.param
    for path in (GOLDEN / version).glob(f"{name}*"):
        if path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
        elif path.stem == name:
            shutil.copy(path, tmp_path)
    return tmp_path / f"{name}.minr", EXPECTED[version]["archives"][name]


def check(path: Path, expected: dict[str, Any]) -> None:
    archive = Archive.open(path)
    assert archive.array == expected["array"]
    assert archive.components == expected["components"]
    assert archive.grid.to_json() == {**archive.grid.to_json(), **_tuples(expected["grid"])}
    assert [m.to_json() for m in archive.members] == expected["members"]
    assert archive.steps == [int(step) for step in expected["steps"]]
    for step in reversed(archive.steps):
        row, record = expected["steps"][str(step)], archive.record(step)
        for name in ("time", "weights", "reference", "precision"):
            assert getattr(record, name) == row[name]
        assert fingerprint(archive.load_step(step).flat().numpy()) == row["networks"]
        values = archive.decode(step, device="cpu")
        close = CLOSE[row["precision"]] * float(np.abs(values).max())
        assert values.reshape(-1)[:: values.size // 7] == pytest.approx(row["values"], abs=close)
        assert values.mean(dtype=np.float64) == pytest.approx(row["mean"], abs=close)
        assert values.std(dtype=np.float64) == pytest.approx(row["spread"], abs=close)


def _tuples(grid: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in grid.items()}


@pytest.mark.parametrize("library", ["fused", "torch"])
def test_it_decodes(
    golden: tuple[Path, dict[str, Any]], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "torch":
        monkeypatch.setattr(fused, "library", lambda: None)
    check(*golden)
    assert not verify(golden[0], device="cpu").findings


def test_it_decodes_without_its_index(golden: tuple[Path, dict[str, Any]]) -> None:
    path, expected = golden
    path.unlink()
    check(path, expected)


@pytest.mark.parametrize("version", FORMATS)
def test_its_prior_loads(version: str) -> None:
    prior = Prior.load(GOLDEN / version / "prior.safetensors")
    assert prior.digest == EXPECTED[version]["prior"]
    assert prior.finished


def test_every_version_has_its_archives() -> None:
    assert [f"format{number}" for number in range(1, FORMAT_VERSION + 1)] == FORMATS


def test_a_newer_version_is_refused_with_the_cure(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "format3" / "float32", tmp_path / "float32")
    path = tmp_path / "float32.minr"
    text = (GOLDEN / "format3" / "float32.minr").read_text("utf-8")
    path.write_text(text.replace('"version": 3', f'"version": {FORMAT_VERSION + 1}', 1), "utf-8")
    with pytest.raises(ArchiveError, match=rf"reads up to {FORMAT_VERSION}: update it"):
        Archive.open(path)
