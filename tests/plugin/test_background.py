"""Work in slices, as ParaView's window asks for them."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metainr_core.errors import MetaINRWarning, SeriesError

pytest.importorskip("vtkmodules")
from metainr_paraview import background
from metainr_paraview.background import Job, LongFilter
from metainr_paraview.encode import MetaINREncode
from metainr_paraview.pretrain import MetaINRPretrain
from metainr_paraview.series import Upstream
from metainr_paraview.tables import fill_table

from metainr_core import Archive, Prior

pytestmark = pytest.mark.filterwarnings("always::metainr_core.errors.MetaINRWarning")


class Counting(Job):
    """Counts to ``rounds``, and looks at its input before each round."""

    def __init__(self, algorithm: Long):
        self.upstream, self.rounds, self.error = (
            Upstream(algorithm), algorithm.rounds, algorithm.error
        )  # fmt: skip
        self.done, self.path = 0, algorithm.path
        self.threads: set[str] = set()

    def run(self, progress: Any, here: Any) -> None:
        self.upstream.here = here
        self.threads.add(threading.current_thread().name)
        while self.done < self.rounds:
            self.upstream.image(self.upstream.steps[self.done % 4])
            self.done += 1
            time.sleep(0.01)
            progress(self.done / self.rounds, f"round {self.done}")
        warnings.warn("counted", MetaINRWarning, stacklevel=1)
        if self.error:
            raise self.error

    def show(self, output: Any) -> None:
        fill_table(output, {"round": int}, [{"round": n} for n in range(self.done)])

    def kept(self) -> str:
        return f"{self.done} rounds are kept" if self.done > 1 else ""


class Long(LongFilter):
    label = "Long"

    def __init__(self, rounds: int = 30):
        super().__init__()
        self.rounds, self.path = rounds, ""
        self.error: Exception | None = None
        self.jobs: list[Counting] = []

    def job(self) -> Job:
        self.jobs.append(Counting(self))
        return self.jobs[-1]


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_SLICES", (0.05, 0.05))
    monkeypatch.setattr(background, "PROGRESS_INTERVAL", 0.0)


def rows(algorithm: Any) -> int:
    return int(algorithm.GetOutputDataObject(0).GetNumberOfRows())


def working() -> int:
    """Threads that do or await work."""
    return sum(thread.name == background.THREAD for thread in threading.enumerate())


def ask(algorithm: Any, until: Callable[[], bool] | None = None) -> list[int]:
    """Asks as the window does until nothing is left to do; the rows after each slice."""
    seen: list[int] = []
    while algorithm.GetNeedsUpdate():
        algorithm.Update()
        seen.append(rows(algorithm))
        if until and until():
            break
    return seen


def test_nobody_asks_and_it_works_to_the_end_in_its_own_thread(lab: Any) -> None:
    algorithm = lab.connect(Long(), lab.source())
    messages = lab.messages(algorithm)
    algorithm.Update()
    assert rows(algorithm) == 30
    assert algorithm.jobs[0].threads == {"MainThread"}
    assert messages == ["WARNING: Long: counted\n"]


def test_asked_it_returns_after_each_slice_with_what_is_finished(lab: Any) -> None:
    threads: set[str] = set()
    source = lab.source()
    source.AddObserver("StartEvent", lambda *_: threads.add(threading.current_thread().name))
    algorithm = lab.connect(Long(), source)
    algorithm.AddObserver("ProgressEvent", lambda *_: threads.add(threading.current_thread().name))
    messages = lab.messages(algorithm)
    assert not algorithm.GetNeedsUpdate(), "nothing was applied yet"
    start = time.monotonic()
    algorithm.Update()
    assert time.monotonic() - start < 0.25
    first = rows(algorithm)
    assert 0 < first < 30
    seen = ask(algorithm)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == 30
    assert len(algorithm.jobs) == 1
    assert algorithm.jobs[0].threads != {"MainThread"}
    assert threads == {"MainThread"}, "VTK is used in one thread only"
    assert messages == ["WARNING: Long: counted\n"]
    assert not algorithm.GetNeedsUpdate()


def test_what_no_view_shows_goes_on_too(lab: Any) -> None:
    algorithm = lab.connect(Long(), lab.source())
    algorithm.GetNeedsUpdate()
    algorithm.Update()
    for _ in range(100):
        if not algorithm.GetNeedsUpdate():
            break
    assert rows(algorithm) == 30


def test_stop_keeps_and_says_what_is_finished(lab: Any) -> None:
    algorithm = lab.connect(Long(), lab.source())
    messages = lab.messages(algorithm)
    algorithm.Stop()
    algorithm.GetNeedsUpdate()
    algorithm.Update()
    algorithm.Stop()
    ask(algorithm)
    done = algorithm.jobs[0].done
    assert 1 < done < 30
    assert rows(algorithm) == done
    stopped = f"WARNING: Long: stopped; {done} rounds are kept; Run Again continues\n"
    assert messages == [stopped]
    assert working() == 0
    algorithm.Modified()
    algorithm.Update()
    ask(algorithm)
    assert rows(algorithm) == 30


def test_new_settings_start_anew(lab: Any) -> None:
    algorithm = lab.connect(Long(), lab.source())
    algorithm.GetNeedsUpdate()
    algorithm.Update()
    algorithm.rounds = 7
    algorithm.Modified()
    assert not algorithm.GetNeedsUpdate(), "what was typed is applied by Apply only"
    algorithm.Update()
    ask(algorithm)
    assert rows(algorithm) == 7
    assert working() == 0


def test_an_error_is_one_line_and_the_end(lab: Any) -> None:
    algorithm = lab.connect(Long(), lab.source())
    algorithm.error = SeriesError("step 3 is broken")
    messages = lab.messages(algorithm)
    algorithm.GetNeedsUpdate()
    algorithm.Update()
    assert ask(algorithm)[-1] == 0
    assert messages == ["WARNING: Long: counted\n", "ERROR: Long: step 3 is broken\n"]
    assert not algorithm.GetNeedsUpdate()


def test_one_waits_for_the_file_that_another_makes(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(Long):
        awaited = "Source"

    first, second = lab.connect(Long(), lab.source()), lab.connect(Waiting(), lab.source())
    first.path = second.values["Source"] = "a.safetensors"
    messages = lab.messages(second)
    for algorithm in (first, second):
        algorithm.GetNeedsUpdate()
        algorithm.Update()
    assert rows(first) > 0
    assert rows(second) == 0
    assert not second.GetNeedsUpdate()
    assert not second.jobs
    ask(first)
    ask(second)
    assert rows(second) == 30
    assert messages == [
        "WARNING: Long: waits until a.safetensors is finished\n", "WARNING: Long: counted\n"
    ]  # fmt: skip
    # Nobody asks the first one any more: it is not going to be finished.
    first.Modified()
    first.Update()
    monkeypatch.setattr(background, "_FORGOTTEN", 0.0)
    second.Modified()
    second.Update()
    assert rows(second) > 0


def test_a_filter_that_is_deleted_ends_its_work(lab: Any) -> None:
    algorithm = lab.connect(Long(), lab.source())
    algorithm.GetNeedsUpdate()
    algorithm.Update()
    job = algorithm.jobs[0]
    assert working() == 1
    del algorithm
    gc.collect()
    assert working() == 0
    assert job.done < 30


def test_pretrain_and_encode_in_slices_give_the_same_files(lab: Any, tmp_path: Path) -> None:
    made: list[tuple[Prior, list[Any]]] = []
    for name in ("whole", "slices"):
        folder = tmp_path / name
        folder.mkdir()
        path, archive = str(folder / "prior.safetensors"), str(folder / "run.minr")
        pretrain = lab.set(MetaINRPretrain(), PriorFile=path, **lab.quick_pretrain)
        encode = lab.set(MetaINREncode(), PriorFile=path, ArchiveFile=archive, **lab.quick_encode)
        for algorithm in (pretrain, encode):
            lab.connect(algorithm, lab.source())
            if name == "slices":
                algorithm.GetNeedsUpdate()
            algorithm.Update()
            ask(algorithm)
        assert rows(pretrain) == 3
        assert rows(encode) == 4
        opened = Archive.open(archive)
        made.append((Prior.load(path), [opened.decode(s) for s in opened.steps]))
    (prior, volumes), (other, others) = made
    assert prior.digest == other.digest
    for volume, same in zip(volumes, others, strict=True):
        assert (volume == same).all()


def test_two_filters_do_not_write_one_file(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "run.minr")
    values = {**lab.quick_encode, "Init": "random", "ArchiveFile": path, "Epochs": 40}
    first, second = (lab.set(MetaINREncode(), **values) for _ in range(2))
    messages = lab.messages(second)
    monkeypatch.setattr(background, "_SLICES", (0.0, 0.0))
    for algorithm in (first, second):
        lab.connect(algorithm, lab.source())
        algorithm.GetNeedsUpdate()
        algorithm.Update()
    ask(first, until=Path(path).exists)
    ask(second)
    assert rows(second) == 0
    assert "run.minr is being encoded by another process or filter; wait" in messages[-1]
    # Once it is deleted, and kept for Undo alone, the other may go on with it.
    monkeypatch.setattr(background, "_FORGOTTEN", 0.0)
    second.Modified()
    second.Update()
    monkeypatch.undo()
    ask(second)
    assert rows(second) == 4
    assert Archive.open(path).damaged() == []
