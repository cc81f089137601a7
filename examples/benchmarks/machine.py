"""The machine in words: what a reader of the figures must know, and no names of hosts or paths."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from metainr_core.device import find_dtype

# Those that decide how fast products are.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, device, versions, and how busy the machine is just now."""
    name, features = _processor()
    return {
        "processor": name,
        "features": features,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "arithmetic": str(find_dtype("auto", device)).removeprefix("torch."),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "day": time.strftime("%Y-%m-%d"),
        # Over the last minute, before the part began: other work on the machine shows here.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def sentence(machine: dict[str, Any]) -> str:
    features = ", ".join(machine["features"]) or "features unknown"
    load = "" if machine["load"] is None else f"; load before it {machine['load']}"
    return (
        f"{machine['device']}; processor {machine['processor']} ({features}), {machine['cores']}"
        f" cores, {machine['threads']} threads; PyTorch {machine['torch']}, training in"
        f" {machine['arithmetic']}; {machine['day']}{load}"
    )


def _processor() -> tuple[str, list[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine(), []
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    flags = (found.get("flags") or found.get("Features") or "").split()
    return found.get("model name", platform.machine()), [f for f in _FEATURES if f in flags]
