"""How far a command is: a bar on a terminal, now and then a line in a log; and Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

from .errors import Cancelled
from .series import Progress

_LOG_INTERVAL = 30.0  # seconds between lines where there is no terminal


class ProgressBar:
    """A progress bar; Ctrl-C asks the work to stop where nothing is lost.

    ``resumes``: whether the same command goes on from what is finished.
    """

    def __init__(self, resumes: bool = True):
        self.resumes = resumes

    def __enter__(self) -> Progress:
        from tqdm import tqdm

        self.bar = tqdm(
            total=1.0,
            disable=not sys.stderr.isatty(),
            leave=False,
            bar_format="{percentage:3.0f}%|{bar:24}| {elapsed} {desc}",
        )
        self.logged = time.monotonic()
        self.interrupted = False
        self.before = signal.signal(signal.SIGINT, self._interrupt)
        return self._report

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.before)
        self.bar.close()

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        # A second Ctrl-C does not wait: ``cli.main`` catches it.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _report(self, fraction: float, message: str) -> None:
        if self.interrupted:
            kept = "; what is finished is kept, run the same command again"
            raise Cancelled(f"interrupted{kept if self.resumes else ''}")
        if self.bar.disable:
            if time.monotonic() - self.logged >= _LOG_INTERVAL:
                self.logged = time.monotonic()
                print(f"metainr: {100 * fraction:.0f} % {message}", file=sys.stderr, flush=True)
            return
        self.bar.set_description_str(message, refresh=False)
        self.bar.update(fraction - self.bar.n)
