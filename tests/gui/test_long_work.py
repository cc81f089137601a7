"""Pretrain and Encode in ParaView's window: it stays usable, Stop keeps, Run Again continues."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("vtkmodules")
from metainr_core import Archive, Prior
from tests.gui.application import Application
from tests.hosts import blob, write_series

ROUNDS = 1_000_000  # hours of work
ROWS = "result = GetActiveSource().GetDataInformation().GetNumberOfRows()"


def test_stop_run_again_and_delete(tmp_path: Path) -> None:
    series = write_series(
        tmp_path / "series", [blob(x, 24) for x in (0.3, 0.4, 0.5, 0.6)], (1.0, 2.0, 3.0, 4.0)
    )
    prior, archive = tmp_path / "prior.safetensors", tmp_path / "run.minr"
    gui = Application(tmp_path)
    gui.open(series)
    gui.apply()
    gui.add_filter("MetaINRPretrain")
    gui.python(f"""
        import metainr_core.pretraining
        metainr_core.pretraining._SAVE_EVERY = 0.5  # only what is saved is shown
        pretrain = GetActiveSource()
        pretrain.PriorFile = {str(prior)!r}
        pretrain.OuterSteps = {ROUNDS}
        pretrain.Width = 16
    """)
    gui.pause(0.5)
    gui.apply()
    gui.pause(0.5)
    growing = gui.python(ROWS)
    gui.press("Stop")
    gui.pause(0.5)
    stopped = gui.python(ROWS)
    gui.pause(0.5)
    still = gui.python(ROWS)
    gui.press("RunAgain")
    gui.pause(0.5)
    again = gui.python(ROWS)
    # Deleted while it works: it works no more.
    gui.python("Delete(GetActiveSource())")
    saved = f"import os; result = os.stat({str(prior)!r}).st_mtime_ns"
    deleted = gui.python(saved)
    gui.pause(0.5)
    later = gui.python(saved)
    gui.python("SetActiveSource(FindSource('series.pvd'))")
    gui.add_filter("MetaINREncode")
    gui.python(f"""
        encode = GetActiveSource()
        encode.ArchiveFile = {str(archive)!r}
        encode.Init, encode.Width, encode.Epochs = "random", 64, 40
    """)
    gui.pause(0.5)
    gui.apply()
    gui.pause(0.5)
    # The window is free: another filter, another time.
    gui.python("GetAnimationScene().GoToLast()")
    gui.pause(4)
    encoded = gui.python(ROWS)
    output = gui.run()

    assert 0 < growing() < ROUNDS
    assert growing() <= stopped() == still() < ROUNDS
    assert again() >= stopped()
    lines = [line for line in output.splitlines() if "Meta-INR" in line]
    kept = f"stopped; {prior} keeps {stopped()} of {ROUNDS} rounds; Run Again continues"
    assert lines == [f"WARNING: Meta-INR Pretrain: {kept}"]
    assert "Traceback" not in output
    assert len(Prior.load(prior).history) > stopped()
    assert later() == deleted()
    assert encoded() == 4
    assert Archive.open(archive).steps == [0, 1, 2, 3]
