"""Archives whose steps are stored as differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metainr_core import step_files
from metainr_core.archive import Archive
from metainr_core.errors import ArchiveError, MetaINRError
from metainr_core.prior import Prior
from metainr_core.rounding import Rounding
from metainr_core.siren import Siren
from metainr_core.tensor_file import TensorFile
from tests.core.archives import HEADER, INFO, networks, record

STEPS, KEY_INTERVAL = 8, 4


def on_grid(siren: Siren, reference: Siren | None) -> tuple[Siren, Tensor]:
    codes = torch.full((1, len(siren.tensors)), 100, dtype=torch.uint8)
    grid = Rounding.of(reference or siren.map(torch.zeros_like), codes)
    return siren.view(grid.round(siren.flat())), codes


def write(
    archive: Archive, step: int, seed: int, reference: str, base: Siren | None, seconds: float = 1.0
) -> Siren:
    siren, codes = on_grid(networks(seed), base)
    row = record(step, weights="coded", reference=reference, seconds=seconds)
    archive.write_step(row, siren, codes)
    return siren


@pytest.fixture
def chain(tmp_path: Path) -> Archive:
    """Steps 0 and 4 are whole, the others differences to the step before."""
    made = Archive.create(tmp_path / "run.minr", HEADER, INFO)
    last: Siren | None = None
    for step in range(STEPS):
        key = step % KEY_INTERVAL == 0
        reference = "none" if key else "previous"
        last = write(made, step, step, reference, None if key else last)
    made.write_index()
    return made


@pytest.fixture
def from_prior(tmp_path: Path, prior: Prior) -> Archive:
    """Three differences to the prior."""
    small = Prior(**{**vars(prior.rounded()), "siren": networks(77), "siren_config": HEADER.siren})
    made = Archive.create(tmp_path / "run.minr", HEADER, INFO)
    small.rounded().save(made.prior_path)
    base = Prior.load(made.prior_path).siren
    for step in range(3):
        write(made, step, step, "prior", base)
    made.write_index()
    return made


def expected(steps: int = STEPS) -> list[Tensor]:
    """What the fixture's steps hold, without an archive."""
    result: list[Siren] = []
    for step in range(steps):
        base = result[-1] if step % KEY_INTERVAL else None
        result.append(on_grid(networks(step), base)[0])
    return [siren.flat() for siren in result]


def spy_on_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps whose weights are read, as they are."""
    seen: list[int] = []

    tensor = TensorFile.tensor

    def spy(file: TensorFile, name: str, *arguments: Any) -> np.ndarray:
        if name == "code":
            seen.append(int(file.path.stem[-6:]))
        return tensor(file, name, *arguments)

    monkeypatch.setattr(TensorFile, "tensor", spy)
    return seen


ORDERS = [range(8), range(7, -1, -1), [3, 0, 7, 1, 1, 6, 2, 5, 4, 3], [7], [2, 6, 2, 6]]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_any_order_gives_the_same(chain: Archive, order: list[int], lost: bool) -> None:
    if lost:
        chain.path.unlink()
    opened, wanted = Archive.open(chain.path), expected()
    assert opened.steps == list(range(STEPS))
    values = {step: chain.decode(step) for step in order}
    for step in order:
        assert torch.equal(opened.load_step(step).flat(), wanted[step])
        assert np.array_equal(opened.decode(step), values[step])
        assert np.array_equal(Archive.open(chain.path).decode(step), values[step])


def test_going_through_reads_every_file_once(
    chain: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, seen = Archive.open(chain.path), spy_on_files(monkeypatch)
    for step in range(STEPS):
        opened.decode(step)
    assert seen == list(range(STEPS))
    # Anywhere else from the key frame on, and no further back.
    Archive.open(chain.path).decode(6)
    assert seen[STEPS:] == [4, 5, 6]


def test_going_back_reads_every_file_once(chain: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, seen = Archive.open(chain.path), spy_on_files(monkeypatch)
    for step in reversed(range(STEPS)):
        opened.decode(step)
    assert seen == [4, 5, 6, 7, 0, 1, 2, 3], "each chain from its key frame"


def test_weights_are_held_up_to_a_number_of_bytes(
    chain: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = chain.load_step(0).bytes
    monkeypatch.setattr(step_files, "_HELD_BYTES", 2 * size)
    opened, seen = Archive.open(chain.path), spy_on_files(monkeypatch)
    for step in (3, 2, 1):
        opened.decode(step)
    assert seen == [0, 1, 2, 3, 0, 1], "the last two are held"


def test_what_was_loaded_can_be_changed_by_nobody_else(chain: Archive) -> None:
    opened = Archive.open(chain.path)
    first = opened.decode(1)
    for _ in range(2):
        assert np.array_equal(opened.decode(1), first)
        opened.decode(2)


def test_a_missing_base_is_one_clear_line(chain: Archive) -> None:
    chain.step_path(5).unlink()
    opened = Archive.open(chain.path)
    assert opened.steps == [0, 1, 2, 3, 4, 6, 7]
    for step in (6, 7):
        with pytest.raises(
            ArchiveError, match=r"holds a difference to step 5, which is missing"
        ) as error:
            opened.decode(step)
        assert "\n" not in str(error.value)
    for step in (0, 3, 4):
        assert torch.equal(opened.load_step(step).flat(), expected()[step])
    chain.path.unlink()
    # Steps that nothing can be made of are not taken in.
    assert Archive.open(chain.path).steps == [0, 1, 2, 3, 4]


def test_a_damaged_base_is_named(chain: Archive) -> None:
    path = chain.step_path(5)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ArchiveError, match=r"step_000005.*sha256 differs.*encode step 5 again"):
        Archive.open(chain.path).decode(7)


@pytest.mark.parametrize("how", ["same object", "reopened", "old index", "no index"])
def test_a_base_with_other_weights_is_noticed(chain: Archive, how: str) -> None:
    index, before = chain.path.read_bytes(), expected()
    write(chain, 5, 55, "previous", chain.load_step(4), seconds=2.0)
    chain.write_index()
    if how == "old index":
        chain.path.write_bytes(index)
    if how == "no index":
        chain.path.unlink()
    opened = chain if how == "same object" else Archive.open(chain.path)
    assert torch.equal(opened.load_step(4).flat(), before[4])
    assert not torch.equal(opened.load_step(5).flat(), before[5])
    if how == "no index":
        assert opened.steps == [0, 1, 2, 3, 4, 5]
        return
    with pytest.raises(
        ArchiveError, match="a difference to the step before, which has changed; encode step 6"
    ) as error:
        opened.decode(6)
    assert "\n" not in str(error.value)
    with pytest.raises(ArchiveError, match="has changed; encode step 6 again"):
        opened.decode(7)


def test_a_base_that_was_written_again_alike_will_do(chain: Archive) -> None:
    """Fitted again from the same data: other seconds, the same weights."""
    write(chain, 5, 5, "previous", chain.load_step(4), seconds=2.0)
    assert torch.equal(chain.load_step(7).flat(), expected()[7])
    assert torch.equal(Archive.open(chain.path).load_step(7).flat(), expected()[7])


def test_differences_to_the_prior_need_no_order(from_prior: Archive) -> None:
    base = Prior.load(from_prior.prior_path).siren
    for step in (2, 0, 1):
        wanted = on_grid(networks(step), base)[0].flat()
        assert torch.equal(Archive.open(from_prior.path).load_step(step).flat(), wanted)
    from_prior.path.unlink()
    assert Archive.open(from_prior.path).steps == [0, 1, 2]


def test_another_prior_is_noticed(from_prior: Archive) -> None:
    prior = Prior.load(from_prior.prior_path)
    Prior(**{**vars(prior), "siren": networks(78)}).save(from_prior.prior_path)
    with pytest.raises(
        ArchiveError, match="a difference to the prior, which has changed; encode step 1 again"
    ) as error:
        Archive.open(from_prior.path).decode(1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 10])
def test_a_prior_that_is_gone_is_named(from_prior: Archive, content: bytes | None) -> None:
    from_prior.prior_path.unlink()
    if content is not None:
        from_prior.prior_path.write_bytes(content)
    with pytest.raises(MetaINRError, match=r"prior\.safetensors") as error:
        Archive.open(from_prior.path).decode(1)
    assert "\n" not in str(error.value)


def test_a_prior_of_another_network_is_refused(from_prior: Archive, prior: Prior) -> None:
    prior.rounded().save(from_prior.prior_path)
    with pytest.raises(MetaINRError) as error:
        Archive.open(from_prior.path).decode(1)
    assert "\n" not in str(error.value)


def test_changed_bits_of_coded_steps_are_noticed(chain: Archive) -> None:
    path = chain.step_path(5)
    good = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(good), 40):
        bad = bytearray(good)
        bad[place] ^= 1 << int(place) % 8
        path.write_bytes(bytes(bad))
        with pytest.raises(ArchiveError):
            Archive.open(chain.path).decode(5)
    # Without an index to compare with, the step's own checksum tells: also of the last bits, which
    # the coder does not read.
    for place in range(len(good) - 12, len(good)):
        chain.path.unlink(missing_ok=True)
        bad = bytearray(good)
        bad[place] ^= 1
        path.write_bytes(bytes(bad))
        assert 5 not in Archive.open(chain.path).steps


def test_the_index_has_a_line_per_step(chain: Archive) -> None:
    lines = chain.path.read_text().splitlines()
    rows = [line for line in lines if line.startswith('  {"step"')]
    assert len(rows) == STEPS
    assert [json.loads(row.rstrip(","))["step"] for row in rows] == list(range(STEPS))
    assert len(json.loads(chain.path.read_text())["steps"]) == STEPS
