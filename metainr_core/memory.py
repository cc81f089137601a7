"""How much memory there is."""

from __future__ import annotations

import sys
from pathlib import Path


def free_memory() -> int:
    """Bytes that can be had, swap included; where that is not known, all there could be.

    Asked for more, Linux often says yes and ends the process when it is used.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        amounts = dict(line.split()[:2] for line in lines)
        return 1024 * (int(amounts["MemAvailable:"]) + int(amounts["SwapFree:"]))
    except (OSError, LookupError, ValueError):
        return sys.maxsize // 4
