"""Inner products of weights: against one product of all, whatever fits into memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metainr_core import gram as module
from metainr_core.archive import Archive
from metainr_core.errors import Cancelled, MetaINRError
from metainr_core.gram import distances, gram_matrix
from tests.core.archives import HEADER, INFO, networks, record

STEPS = [0, 1, 3, 4, 7, 8, 9]


@pytest.fixture
def archive(tmp_path: Any) -> Archive:
    made = Archive.create(tmp_path / "run.minr", HEADER, INFO)
    for step in STEPS:
        made.write_step(record(step), networks(step))
    return made


def plain(archive: Archive) -> np.ndarray:
    rows = [archive.load_step(s).flat().numpy().ravel().astype(np.float64) for s in STEPS]
    weights = np.array(rows) - rows[0]
    return weights @ weights.T


@pytest.mark.parametrize("block", [1, 2, 3, 7])
@pytest.mark.parametrize("part", [1, 30, 1 << 22])
def test_blocks_give_what_one_product_gives(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, block: int, part: int
) -> None:
    monkeypatch.setattr(module, "_block", lambda *_: block)
    monkeypatch.setattr(module, "_PART", part)
    seen: list[float] = []
    found = gram_matrix(archive, STEPS, lambda share, _: seen.append(share))
    assert found == pytest.approx(plain(archive), rel=1e-6, abs=1e-9)
    assert (found == found.T).all()
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] <= 1


def test_steps_are_read_in_order_and_once_for_each_block(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_block", lambda *_: 3)
    read: list[int] = []
    load = archive.load_step

    def note(step: int) -> Any:
        read.append(step)
        return load(step)

    monkeypatch.setattr(archive, "load_step", note)
    gram_matrix(archive, STEPS)
    assert read == [0, *STEPS, *STEPS[3:], *STEPS[6:]]


def test_the_block_is_what_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: 8 << 30)
    assert module._block(10, 4_000_000) == 10
    block = module._block(10_000, 4_000_000)
    assert (5 << 30) // 16_000_000 > block > (4 << 30) // 16_000_000
    with pytest.raises(MetaINRError) as caught:
        module._block(20_000, 4_000_000)
    assert str(caught.value) == (
        "a map of 20000 steps of 1000000 weights needs 15.1 GiB, and 8 GiB are free; take fewer"
        " steps"
    )


def test_it_can_be_stopped(archive: Archive) -> None:
    def stop(share: float, text: str) -> None:
        if text == "weights of step 4":
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        gram_matrix(archive, STEPS, stop)


def test_distances_are_those_of_the_weights(archive: Archive) -> None:
    rows = [archive.load_step(s).flat().numpy().ravel().astype(np.float64) for s in STEPS]
    expected = [[np.linalg.norm(a - b) for b in rows] for a in rows]
    found = distances(gram_matrix(archive, STEPS))
    assert found == pytest.approx(np.array(expected), rel=1e-6)
    assert (found.diagonal() == 0).all()
