"""How long something still takes."""

from __future__ import annotations

import pytest

from metainr_core.time_left import time_left


@pytest.mark.parametrize(
    ("seconds", "share", "text"),
    [
        (10, 0.25, "30 s left"),
        (10, 1.0, "0 s left"),
        (0.4, 0.1, "4 s left"),
        (100, 0.25, "5 min left"),
        (3600, 0.25, "3.0 h left"),
        (10, 0.0, ""),
    ],
)
def test_it_is_in_units_that_one_reads_at_a_glance(seconds: float, share: float, text: str) -> None:
    assert time_left(seconds, share) == text
