"""What the machine can do at best: rates of matrix products and of copying memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from metainr_core.device import find_dtype

from .settings import Settings
from .timing import repeated, spread


def measure(device: torch.device, settings: Settings) -> dict[str, Any]:
    """``products``: a row per arithmetic, shape and number of threads, rates in operations/s.

    ``copy``: bytes/s, each byte counted once read and once written.
    """
    rows = []
    threads = [torch.get_num_threads()]
    if device.type == "cpu" and threads[0] > 1:
        threads.append(1)
    arithmetics = ["fp32", "bf16", *(["tf32"] if device.type == "cuda" else [])]
    for count in threads:
        for name in arithmetics:
            for width in settings.widths:
                with _threads(count):
                    rate = product_rate(device, name, width, settings)
                rows.append({"arithmetic": name, "width": width, "threads": count, "rate": rate})
    return {
        "rows": settings.rows,
        "products": rows,
        "copy": [
            {"threads": count, "rate": _copy_rate(device, count, settings)} for count in threads
        ],
    }


def training_arithmetic(device: torch.device) -> str:
    """The one that training takes here and that shares refer to: bf16 where there is any."""
    return "bf16" if find_dtype("auto", device) == torch.bfloat16 else "fp32"


def product_rate(
    device: torch.device, arithmetic: str, width: int, settings: Settings
) -> dict[str, Any]:
    """Operations/s of ``rows`` × ``width`` times ``width`` × ``width``."""
    dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
    left = torch.rand(settings.rows, width, device=device).to(dtype)
    right = torch.rand(width, width, device=device).to(dtype)
    result = torch.empty(settings.rows, width, device=device, dtype=dtype)
    with _tf32(arithmetic == "tf32"):
        seconds = repeated(
            lambda: torch.mm(left, right, out=result), device, settings.repeats, settings.seconds
        )
    return spread([2 * settings.rows * width * width / s for s in seconds])


def best_rate(
    device: torch.device, arithmetic: str, width: int, settings: Settings
) -> dict[str, Any]:
    """The higher of ``product_rate`` with all cores and with one.

    Where other programs run, threads that wait for each other can be slower than one alone.
    """
    rates = [product_rate(device, arithmetic, width, settings)]
    if device.type == "cpu" and torch.get_num_threads() > 1:
        with _threads(1):
            rates.append(product_rate(device, arithmetic, width, settings))
    return max(rates, key=lambda rate: rate["median"])


def _copy_rate(device: torch.device, threads: int, settings: Settings) -> dict[str, Any]:
    source = torch.ones(settings.copy_bytes // 4, device=device)
    target = torch.zeros_like(source)
    with _threads(threads):
        seconds = repeated(lambda: target.copy_(source), device, settings.repeats, settings.seconds)
    return spread([2 * settings.copy_bytes / s for s in seconds])


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if wanted else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
