"""Long work in slices, so that ParaView's window stays usable while it goes on.

ParaView 5.11 runs filters in the thread of its window and its abort button never gets enabled. But
it asks sources with the hint ``LiveSource``, ten times a second, whether they need an update
(``GetNeedsUpdate``), on the server as well; scripts do not. So a filter that was asked works for
half a second to two, shows what is finished, goes on when asked again. In between people turn
the volume, and press Stop. A filter that nobody asks, in pvpython, works until it is done.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from metainr_core.errors import Cancelled

from .filter import PROGRESS_INTERVAL, Progress, TableFilter
from .series import Here

# Seconds. What takes no longer than the longest slice is simply there after Apply; drawing and
# whatever else the window does between two slices takes a fifth of the time at most.
_SLICES = (0.5, 2.0)
_SHARE = 4.0  # seconds of work for each second of the window
THREAD = "metainr work"
_FORGOTTEN = 10.0  # seconds after which the window is not going to ask again


class Job:
    """What a long filter does, with its settings when it started.

    It must not refer to the filter, which may be deleted meanwhile. ``path``: the file it writes.
    """

    path: str

    def run(self, progress: Callable[[float, str], None], here: Here) -> None:
        """Does all of it, in another thread; what touches VTK goes through ``here(function)``.
        Raises MetaINRError, also Cancelled when ``progress`` did."""
        raise NotImplementedError

    def show(self, output: Any) -> None:
        """Fills the table with what is finished."""
        raise NotImplementedError

    def kept(self) -> str:
        """What a stop keeps, for a message; empty if that is nothing."""
        raise NotImplementedError


class LongFilter(TableFilter):
    """A table filter that works in slices in ParaView's window. Subclasses write ``job``.

    ``awaited``: the property that names a file; while another such filter is writing that, this
    one waits.
    """

    awaited = ""
    _working: ClassVar[weakref.WeakSet[LongFilter]] = weakref.WeakSet()

    def __init__(self) -> None:
        super().__init__()
        self._work: _Work | None = None
        self._asked = False
        self._waits = False
        self._time = 0
        self._left = self._last_asked = 0.0
        self._warned: list[Warning | str] = []
        self._awaits = False

    def job(self) -> Job:
        """The work to do now. Raises MetaINRError."""
        raise NotImplementedError

    def GetNeedsUpdate(self) -> bool:
        """ParaView's window asks; True makes it update and draw this filter."""
        self._asked, self._last_asked = True, time.monotonic()
        if self.GetMTime() != self._time:
            return False  # new settings are on their way
        if self._work is None and (not self._awaits or self._awaited()):
            return False
        again = self._waits
        self.Modified()
        self._time = self.GetMTime()
        self._waits = True
        if again:  # no view shows the output, so nothing came of the last True
            self.Update()
        return True

    def Stop(self) -> None:
        """Ends the work where nothing is lost."""
        if self._work is not None:
            self._work.cancelled = True

    def RequestData(self, request: Any, inInfo: Any, outInfo: Any) -> int:
        if self._work is not None and self.GetMTime() != self._time:
            self._work.end()
            self._forget()
        result = super().RequestData(request, inInfo, outInfo)
        self._waits = False
        self._time = self.GetMTime()
        return result

    def _awaited(self) -> bool:
        """Whether another filter is writing the file that this one reads."""
        path = self.values.get(self.awaited)
        return any(other.writes(path) for other in self._working)

    def writes(self, path: str | None) -> bool:
        """Whether it is working on this file; not when nobody asks it any more, as it was
        deleted and is kept for Undo."""
        asked = time.monotonic() - self._last_asked < _FORGOTTEN
        return asked and self._work is not None and self._work.job.path == path

    def give_way(self, path: str) -> None:
        """Ends its work on this file, which nobody else can write meanwhile, if it is forgotten."""
        if self._work is not None and self._work.job.path == path and not self.writes(path):
            self._work.end()
            self._forget()

    def run(self, inInfo: Any, output: Any, progress: Progress) -> None:
        self._awaits = self._asked and self._work is None and self._awaited()
        if self._awaits:
            self.report(f"waits until {self.values[self.awaited]} is finished", "Warning")
            return
        job = self._work.job if self._work else self.job()
        try:
            self._do(job, progress)
        except Cancelled:
            kept = job.kept()
            if not kept:
                raise
            self.report(f"stopped; {kept}; Run Again continues", "Warning")
        finally:
            warned, self._warned = self._warned, []
            for message in warned:
                super()._show_warning(message)
        job.show(output)

    def _do(self, job: Job, progress: Progress) -> None:
        """All of the work, or the next slice of it."""
        if not self._asked:
            job.run(progress, lambda call: call())
            return
        seconds = _SHARE * (time.monotonic() - self._left)
        if self._work is None:
            for other in list(self._working):
                other.give_way(job.path)
            self._work = _Work(job)
            self._working.add(self)
            self._end = weakref.finalize(self, _Work.end, self._work)
        finished = True
        try:
            finished = self._work.go_on(progress, min(max(seconds, _SLICES[0]), _SLICES[1]))
        finally:
            self._left = time.monotonic()
            if finished:
                self._forget()

    def _forget(self) -> None:
        self._work = None
        self._end.detach()

    def _show_warning(self, message: Warning | str, *where: Any) -> None:
        self._warned.append(message)  # the other thread must not touch VTK


class _Work:
    """A job in a thread that runs only while its owner waits for it.

    So nothing happens at the same time, and nothing has to be locked.
    """

    def __init__(self, job: Job):
        self.job = job
        self.cancelled = False
        self._finished = False
        self._error: BaseException | None = None
        self._shown = 0.0
        self._call: Callable[[], Any] = lambda: None
        self._may_pause = False
        self._result: Any = None
        self._failure: BaseException | None = None
        self._go, self._pause = threading.Semaphore(0), threading.Semaphore(0)
        self._alone = False
        # ParaView may be closed at any time; files are replaced as a whole.
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    def go_on(self, progress: Progress, seconds: float) -> bool:
        """Works for about that long; whether all is done. Raises what the job raises."""
        self._report = progress
        end = time.monotonic() + seconds
        try:
            while self._wait():
                try:
                    self._result = self._call()
                except BaseException as error:
                    self._failure = error
                if self._may_pause and time.monotonic() >= end and not self.cancelled:
                    return False
        finally:
            del self._report  # it refers to the owner, whom this must not keep alive
        if self._error is not None:
            raise self._error
        return True

    def end(self) -> None:
        """Ends it where nothing is lost, without anything from VTK, which may be gone."""
        self.cancelled = self._alone = True
        if threading.current_thread() is self._thread:  # Python collects garbage in any thread
            return
        while not self._finished and self._wait():
            self._failure = Cancelled("stopped")

    def _wait(self) -> bool:
        """Lets the thread run to its next call; False when it has ended."""
        self._go.release()
        self._pause.acquire()
        return not self._finished

    def _run(self) -> None:
        self._go.acquire()
        try:
            self.job.run(self._progress, self._here)
        except BaseException as error:
            self._error = error
        self._finished = True
        self._pause.release()

    def _here(self, call: Callable[[], Any], may_pause: bool = False) -> Any:
        """Runs ``call`` in the owner's thread, which may go and come back afterwards."""
        if self._alone:
            raise Cancelled("stopped")
        self._call, self._may_pause = call, may_pause
        self._pause.release()
        self._go.acquire()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return self._result

    def _progress(self, fraction: float, message: str) -> None:
        if self.cancelled:
            raise Cancelled("stopped")
        now = time.monotonic()
        if fraction >= 1 or now - self._shown > PROGRESS_INTERVAL:
            self._shown = now
            self._here(lambda: self._report(fraction, message), may_pause=True)
