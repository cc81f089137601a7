"""What long jobs say where there is no terminal."""

from __future__ import annotations

import os
import signal

import pytest

from metainr_core import progress_bar
from metainr_core.errors import Cancelled
from metainr_core.progress_bar import ProgressBar


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now)
    with ProgressBar() as progress:
        for second in range(100):
            now = float(second)
            progress(second / 100, f"step {second}")
    lines = [f"metainr: {second} % step {second}" for second in (30, 60, 90)]
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize("resumes", [True, False])
def test_only_what_resumes_says_so(resumes: bool) -> None:
    with ProgressBar(resumes) as progress:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Cancelled) as error:
            progress(0.5, "half")
    assert ("run the same command again" in str(error.value)) == resumes
