"""Clocks that wait for the device, and what several repeats of one measurement say."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch


def wait(device: torch.device) -> None:
    """Until the device has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(action: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    wait(device)
    started = time.perf_counter()
    action()
    wait(device)
    return time.perf_counter() - started


def repeated(
    action: Callable[[], object], device: torch.device, repeats: int, least: float
) -> list[float]:
    """Seconds per call, ``repeats`` times, each over as many calls as take ``least`` seconds."""
    action()  # what is done only once: choosing a kernel, the first touch of the memory
    calls = 1
    while (seconds := timed(lambda: _call(action, calls), device)) < least:  # noqa: B023
        calls = max(2 * calls, round(calls * least / max(seconds, 1e-9)))
    return [timed(lambda: _call(action, calls), device) / calls for _ in range(repeats)]


def _call(action: Callable[[], object], times: int) -> None:
    for _ in range(times):
        action()


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, lowest and highest of the repeats, and all of them: JSON-able."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "values": list(values),
    }
