"""Functions in processes of their own, which may be killed: PyTorch is imported only once."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from metainr_core.errors import MetaINRError


class Failed(Exception):
    """A child's exception that is no MetaINRError, as text."""


def run(
    function: Callable[..., Any], *arguments: Any, seconds: float | None = None
) -> tuple[bool, Any]:
    """Whether a child came to its end, and what ``function`` returned there.

    ``seconds``: after that the child is killed (SIGKILL). It may also kill itself. Raises
    MetaINRError as the function did, Failed for anything else.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(sender, function, arguments))
    started = time.monotonic()
    child.start()
    sender.close()
    try:
        if seconds is not None:
            # Not join, which waits for the end of a child that has become another program.
            while child.is_alive() and time.monotonic() < started + seconds:
                time.sleep(0.002)
            if child.is_alive():
                child.kill()
                child.join()
                return False, None
        try:
            kind, value = receiver.recv()
        except EOFError:
            child.join()  # killed, or another program since exec
            if child.exitcode not in (0, -signal.SIGKILL):
                raise Failed(f"exit code {child.exitcode}") from None
            return child.exitcode == 0, None
        child.join()
    finally:
        receiver.close()
    if kind == "MetaINRError":
        raise MetaINRError(value)
    if kind == "Failed":
        raise Failed(value)
    return True, value


def _work(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        sender.send(("result", function(*arguments)))
    except MetaINRError as error:
        sender.send(("MetaINRError", str(error)))
    except BaseException:
        sender.send(("Failed", traceback.format_exc()))
    sender.close()
    sys.stdout.flush()


def warm_up() -> None:
    """Imports here what children would import each; starts no thread, which fork would lose."""
    import safetensors.torch  # noqa: F401

    from metainr_core.vtk_modules import vtk

    vtk("vtkIOXML")
