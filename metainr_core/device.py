"""Which device and arithmetic this machine has."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from .errors import DeviceError


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
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bf16()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


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
