"""Stepping through time: images that are kept, and the step that is decoded ahead."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_paraview import stepping
from metainr_paraview.reader import MetaINRReader
from metainr_paraview.stepping import Direction, StepImages

from metainr_core import fused
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import Cancelled
from metainr_core.fused import build
from metainr_core.series import ArraySeries

needs_library = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
STEPS = 18


@pytest.fixture(scope="module")
def archive(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """More steps than fit beside each other in the tests that bound the memory."""
    waves = [lab.wave(lab.grid, 0.1 * step) for step in range(STEPS)]
    series = ArraySeries(waves, grid=lab.grid, times=range(STEPS), array="speed")
    siren = SirenConfig(8, 1, 10.0)
    config = EncodeConfig(siren=siren, init="random", epochs=2, batch_size=64, weights="float32")
    return encode(series, tmp_path_factory.mktemp("stepping") / "run.minr", config=config)


@pytest.fixture
def reader(lab: Any, archive: Archive) -> Any:
    return lab.set(MetaINRReader(), FileName=str(archive.path))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Steps that were decoded when asked for (``decode``) and begun before (``decode_ahead``)."""
    found: dict[str, list[int]] = {"decode": [], "decode_ahead": []}
    for name, steps in found.items():
        original = getattr(Archive, name)

        def noted(
            self: Archive,
            step: int,
            *rest: Any,
            steps: list[int] = steps,
            original: Callable[..., Any] = original,
            **more: Any,
        ) -> Any:
            steps.append(step)
            return original(self, step, *rest, **more)

        monkeypatch.setattr(Archive, name, noted)
    return found


def show(reader: Any, *steps: int) -> None:
    for step in steps:
        reader.UpdateTimeStep(float(step))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([0], [None]),
        ([0, 1, 2, 3], [None, 2, 3, 4]),
        ([5, 4, 3], [None, 3, 2]),
        ([0, 3, 6, 9, 2], [None, None, 9, 2, 5]),
        ([0, 1, 1, 1, 2], [None, 2, 2, 2, 3]),
        ([0, 4, 4, 4], [None, None, None, None]),
        ([8, 9, 0, 1], [None, 0, 1, 2]),
        ([1, 0, 9, 8], [None, 9, 8, 7]),
        ([0, 7, 5, 9], [None] * 4),
    ],
)
def test_what_is_expected_next(asked: list[int], expected: list[int | None]) -> None:
    direction = Direction()
    assert [direction.after(position, 10) for position in asked] == expected


@pytest.mark.parametrize("count", [1, 2, 3])
def test_expectations_in_the_shortest_series(count: int) -> None:
    direction = Direction()
    for position in [0, 1, 0, 1, 2, 0, 2]:
        guess = direction.after(position % count, count)
        assert guess is None or guess in set(range(count)) - {position % count}


def test_another_series_starts_anew() -> None:
    direction = Direction()
    assert [direction.after(position, 10) for position in (0, 1)] == [None, 2]
    assert direction.after(2, 5) is None


@needs_library
def test_going_on_is_decoded_ahead_and_gives_the_same(
    lab: Any, reader: Any, archive: Archive, calls: dict[str, list[int]]
) -> None:
    for step in [*range(STEPS), *range(STEPS)]:
        show(reader, step)
        values = lab.values(reader.GetOutputDataObject(0))
        np.testing.assert_array_equal(values, Archive.open(archive.path).decode(step))
        del calls["decode"][-1]  # this test's own
    assert calls["decode"] == [0, 1], "nobody could know"
    assert calls["decode_ahead"] == list(range(2, STEPS)), "each once, though shown twice"


@needs_library
def test_backwards_and_by_strides(reader: Any, calls: dict[str, list[int]]) -> None:
    show(reader, 9, 8, 7, 6)
    assert calls == {"decode": [9, 8], "decode_ahead": [7, 6, 5]}
    show(reader, 0, 4, 8, 12, 16)
    assert calls["decode"][2:] == [0, 4], "8 is kept, 12 and 16 were begun"
    assert calls["decode_ahead"][3:] == [12, 16, 2], "and after 16 by fours comes 2"


@needs_library
def test_another_step_than_expected_is_right_too(
    lab: Any, reader: Any, archive: Archive, calls: dict[str, list[int]]
) -> None:
    show(reader, 0, 1, 11)
    assert calls == {"decode": [0, 1, 11], "decode_ahead": [2]}
    values = lab.values(reader.GetOutputDataObject(0))
    np.testing.assert_array_equal(values, archive.decode(11))


def test_another_resolution_and_back(
    lab: Any, reader: Any, archive: Archive, calls: dict[str, list[int]]
) -> None:
    show(reader, 0, 1, 2)
    lab.set(reader, Resolution="scale", Scale=0.5)
    show(reader, 2)
    coarse = lab.values(reader.GetOutputDataObject(0))
    assert coarse.shape == (5, 6, 8, 1)
    decoded = len(calls["decode"])
    np.testing.assert_array_equal(coarse, archive.decode(2, archive.grid.scaled(0.5)))
    reader.SetResolution("original")
    show(reader, 2, 1, 0)
    assert len(calls["decode"]) == decoded + 1, "that of this test; the images are kept"


def test_nothing_is_begun_where_pytorch_decodes(
    reader: Any, calls: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "serves", lambda *_: False)
    show(reader, 0, 1, 2, 3)
    assert calls["decode"] == [0, 1, 2, 3]
    assert reader._images._begun is None


def test_images_are_kept_up_to_a_number_of_bytes(
    reader: Any, archive: Archive, calls: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = []
    kept = StepImages._kept

    def noted(self: StepImages) -> int:
        begun = self._begun is not None
        most.append(kept(self) + begun * self._bytes(archive.grid))
        return kept(self)

    monkeypatch.setattr(StepImages, "_kept", noted)
    limit = 10 * 4 * archive.grid.voxels
    monkeypatch.setattr(stepping, "_KEPT_BYTES", limit)
    show(reader, *range(STEPS))
    assert 0.7 * limit < max(most) <= 1.1 * limit, "an image takes a little more than its values"
    decoded = [*calls["decode"], *calls["decode_ahead"]]
    show(reader, STEPS - 1, STEPS - 2)
    assert sum(map(len, calls.values())) - len(decoded) <= 1, "the last ones are still there"
    monkeypatch.setattr(stepping, "_KEPT_BYTES", 0)
    show(reader, 3, 4, 5)
    assert calls["decode"][-3:] == [3, 4, 5], "with room for one, none is begun"
    assert len(reader._images._images) == 1


def test_little_memory_keeps_few_images(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "free_memory", lambda: 0)
    show(reader, *range(6))
    assert len(reader._images._images) == 1


@needs_library
def test_a_damaged_step_is_told_when_it_is_shown(lab: Any, tmp_path: Path) -> None:
    path = lab.ensemble(tmp_path / "run.minr")
    archive = Archive.open(path)
    file = archive.step_path(5)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    reader = lab.set(MetaINRReader(), FileName=str(path), Member="b")
    messages = lab.messages(reader)
    reader.UpdateTimeStep(0.5)
    reader.UpdateTimeStep(1.0)  # step 4; step 5 is begun
    assert messages == []
    assert reader.GetOutputDataObject(0).GetNumberOfPoints() > 0
    reader.UpdateTimeStep(2.5)
    (message,) = messages
    assert "sha256" in message
    assert reader.GetOutputDataObject(0).GetNumberOfPoints() == 0
    reader.UpdateTimeStep(3.0)
    assert len(messages) == 1
    assert reader.GetOutputDataObject(0).GetNumberOfPoints() > 0


@needs_library
@pytest.mark.parametrize("end", ["deleted", "aborted", "replaced"])
def test_it_ends_while_it_works(lab: Any, archive: Archive, end: str) -> None:
    """On a grid whose step takes minutes nobody waits longer than a moment."""
    reader = lab.set(MetaINRReader(), FileName=str(archive.path))
    show(reader, 0, 1)
    grid = archive.grid.scaled(40)
    reader._images.begin(5, grid, "auto")
    (decoding,) = [weakref.ref(d) for d in gc.get_objects() if type(d) is fused.Decoding]
    assert not decoding().done()  # type: ignore[union-attr]
    started = time.monotonic()
    if end == "deleted":
        del reader
    elif end == "aborted":
        with pytest.raises(Cancelled):
            reader._images.image(5, grid, "auto", stopped)
    else:
        lab.set(reader, FileName=str(archive.path) + "x.minr")
        lab.messages(reader)
        reader.Update()
    gc.collect()
    assert decoding() is None
    assert time.monotonic() - started < 5


def stopped(fraction: float, message: str) -> None:
    raise Cancelled("stopped")


@needs_library
def test_in_pvpython(lab: Any, archive: Archive) -> None:
    found = lab.drive("drive_stepping.py", archive.path)
    assert found["decoded"] == [0, 1]
    assert found["ahead"] == [*range(2, STEPS)]
    assert found["opened"] == 1, "the archive is read once"
    assert found["executed"] == 2 * STEPS + 1, "once without a time, and once for each"
    values = [archive.decode(step) for step in range(STEPS)]
    expected = [(v.min(), v.max()) for v in values]
    np.testing.assert_allclose(found["ranges"], expected, atol=1e-6)
    assert len(set(expected)) == STEPS, "steps can be told apart"
