"""Ctrl-C and kills: what is finished is kept, and one line says so."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from metainr_core.archive import Archive
from metainr_core.cli import main
from tests.core.command_line import (
    ENCODE,
    NETWORK,
    Capture,
    run,
    start,
    wait_for,
)


def test_ctrl_c_keeps_the_finished_steps(folder: Path, capsys: Capture) -> None:
    command = ["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE, "--epochs", "60"]
    process = start(folder, *command)
    wait_for(folder / "run" / "step_000000.safetensors", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("metainr: stopped: interrupted; what is finished is kept")
    assert err.count("\n") == 1
    archive = Archive.open("run.minr")
    assert 0 < len(archive.steps) < 6
    kept = archive.step_path(0).stat().st_mtime_ns
    assert len(run(capsys, *command)["steps"]) == 6
    assert archive.step_path(0).stat().st_mtime_ns == kept


@pytest.mark.parametrize("module", ["numpy", "torch", "vtkmodules"])
def test_ctrl_c_while_starting_is_one_line(folder: Path, module: str) -> None:
    """Whatever is imported at that time, which may well swallow a KeyboardInterrupt."""
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            try:\n"
        "                os.kill(os.getpid(), signal.SIGINT)\n"
        "            except KeyboardInterrupt:\n"
        "                raise ImportError('interrupted')\n"
        "from metainr_core.cli import main\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.exit(main())"
    )
    command = ["decode", "run.minr", "-o", "out.pvd"]
    process = start(folder, *command, code=code)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "metainr: stopped\n")


def test_the_start_imports_next_to_nothing(folder: Path) -> None:
    """Ctrl-C is answered only once this module is there."""
    code = "import sys, metainr_core.cli; print(len(sys.modules.keys() & {'numpy', 'argparse'}))"
    process = start(folder, code=code)
    assert process.communicate(timeout=60) == ("0\n", "")


def test_a_keyboard_interrupt_is_one_line(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what a second Ctrl-C makes."""

    def twice(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Archive, "open", twice)
    before = signal.getsignal(signal.SIGINT)
    assert main(["info", "run.minr"]) == 130
    assert capsys.readouterr().err == "metainr: stopped\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_killed_encode_loses_at_most_the_step_in_flight(folder: Path, capsys: Capture) -> None:
    command = ["encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE, "--epochs", "60"]
    process = start(folder, *command)
    wait_for(folder / "run" / "step_000001.safetensors", process)
    process.kill()
    process.communicate(timeout=60)
    archive = Archive.open("run.minr")
    assert archive.steps[:2] == [0, 1]
    kept = archive.step_path(1).stat().st_mtime_ns
    assert len(run(capsys, *command)["steps"]) == 6
    assert archive.step_path(1).stat().st_mtime_ns == kept
