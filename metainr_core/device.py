"""Which device and arithmetic this machine has."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from .errors import DeviceError, MetaINRWarning


def find_device(name: str) -> torch.device:
    """``auto`` takes CUDA when there is a device. Raises DeviceError when ``cuda`` is missing."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        built = "finds no CUDA device" if torch.version.cuda else "is a CPU-only build"
        raise DeviceError(
            f"device is cuda, but PyTorch {torch.__version__} {built};"
            " choose auto or cpu, or install a CUDA build of PyTorch and the driver"
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def find_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Of the hidden products in training: ``auto`` takes bf16 where the hardware multiplies it."""
    if precision == "auto":
        return torch.bfloat16 if _has_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def decode_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Of the products in decoding: bf16 where it is good enough, and faster on this device."""
    fast = precision == "bf16" and _has_bf16(device)
    return torch.bfloat16 if fast else torch.float32


def _has_bf16(device: torch.device) -> bool:
    return (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else _cpu_has_bf16()
    )


@functools.cache
def _cpu_has_bf16() -> bool:
    # Linux only; elsewhere fp32 is the safe choice.
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def describe(device: torch.device) -> str:
    """The device in words, for logs and read-outs."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads" + (", bf16" if _cpu_has_bf16() else "")


def in_parts(count: int, size: int, work: Callable[[slice], None], what: str) -> int:
    """Calls ``work`` on slices that cover 0 … ``count``, each of at most ``size``.

    Where a device has not memory enough, with smaller ones, down to 1, after a warning that says
    how many ``what`` at once. A call that ran out of memory must have left nothing behind.
    Returns the size it ended with.
    """
    first = 0
    while first < count:
        part = slice(first, min(first + size, count))
        if _has_room(work, part):
            first = part.stop
            continue
        size = (part.stop - part.start) // 2
        torch.cuda.empty_cache()
        message = f"the device's memory is short: from here on {size} {what} at once"
        warnings.warn(message, MetaINRWarning, stacklevel=2)
    return size


def _has_room(work: Callable[[slice], None], part: slice) -> bool:
    # A function of its own: the exception holds on to the memory until this one returns.
    try:
        work(part)
    except torch.OutOfMemoryError as error:
        if part.stop - part.start == 1:
            raise DeviceError(
                "the device's memory is too small for a single one; lower batch_size, or set"
                f" device to cpu ({str(error).splitlines()[0]})"
            ) from error
        return False
    return True
