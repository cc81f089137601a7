"""Evaluation by the fused library's threads, against ``siren.forward``; how it is stopped."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from metainr_core import fused
from metainr_core.config import SirenConfig
from metainr_core.errors import Cancelled
from metainr_core.fused import BricksAlong, Decoding, build
from metainr_core.siren import Siren, forward, initialize

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
FORMATS = [torch.float32] + [torch.bfloat16] * fused.serves(CPU, torch.bfloat16)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # of the range of values


def networks(count: int, width: int, layers: int, components: int) -> Siren:
    generator = torch.Generator().manual_seed(width)
    return initialize(SirenConfig(width, layers, 20.0), count, components, generator)


def one_brick(local: np.ndarray) -> BricksAlong:
    first, count, turn = (np.array([n], np.int32) for n in (0, local.size, 0))
    return BricksAlong(local.size, first, count, turn, local[None], np.ones_like(local[None]))


def cube(edge: int) -> tuple[BricksAlong, ...]:
    return (one_brick(np.linspace(-1, 1, edge, dtype=np.float32)),) * 3


def values_at(siren: Siren, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Of one network, by ``forward``: ``(nz, ny, nx, components)``."""
    grid = np.meshgrid(z, y, x, indexing="ij")
    where = torch.from_numpy(np.stack(grid[::-1], -1).reshape(1, -1, 3))
    return forward(siren, where).reshape(z.size, y.size, x.size, -1).numpy()


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("width", "layers", "components"), [(16, 2, 1), (20, 3, 2), (64, 1, 1), (7, 0, 4), (96, 4, 3)]
)
def test_values_are_those_of_forward(
    dtype: torch.dtype, width: int, layers: int, components: int, background: bool
) -> None:
    siren = networks(1, width, layers, components)
    draw = np.random.default_rng(0)
    x, y, z = (draw.uniform(-1, 1, n).astype(np.float32) for n in (13, 5, 41))
    axes = [one_brick(a) for a in (x, y, z)]
    found = Decoding(siren, axes, dtype, background).values()
    wanted = values_at(siren, x, y, z)
    assert found.shape == (41, 5, 13, components)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < TOLERANCE[dtype] * np.ptp(wanted)


def test_shares_of_bricks_that_overlap_are_added() -> None:
    """Two bricks along x share its middle position; a third has none of its own."""
    siren = networks(3, 16, 1, 2)
    local = np.array([[-1.0, 0.5], [0.25, 1.0], [0.0, 0.0]], np.float32)
    share = np.array([[1.0, 0.75], [0.25, 1.0], [0.0, 0.0]], np.float32)
    first, count, turn = (np.array(n, np.int32) for n in ([0, 1, 0], [2, 2, 0], [0, 1, 0]))
    line = np.linspace(-1, 1, 9, dtype=np.float32)
    axes = (BricksAlong(3, first, count, turn, local, share), one_brick(line), one_brick(line))
    found = Decoding(siren, axes, torch.float32, False).values()
    one, other = (
        values_at(siren.map(lambda t: t[n : n + 1]), local[n], line, line)  # noqa: B023
        for n in (0, 1)
    )
    middle = 0.75 * one[:, :, 1] + 0.25 * other[:, :, 0]
    wanted = np.stack([one[:, :, 0], middle, other[:, :, 1]], axis=2)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_threads_change_nothing() -> None:
    siren, axes = networks(1, 20, 2, 1), cube(40)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(Decoding(siren, axes, torch.float32, False).values())
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_it_works_while_nobody_waits_and_owns_what_it_needs() -> None:
    siren = networks(1, 32, 2, 1)
    wanted = Decoding(siren, cube(60), torch.float32, False).values()
    decoding = Decoding(siren.clone(), cube(60), torch.float32, True)
    gc.collect()
    seen: list[float] = []
    deadline = time.monotonic() + 30
    while not decoding.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    found = decoding.values(lambda fraction, message: seen.append(fraction))
    assert len(seen) == 1, "nothing was left to wait for"
    np.testing.assert_array_equal(found, wanted)


def test_a_long_one_tells_its_progress_and_can_be_stopped() -> None:
    seen: list[float] = []

    def stop(fraction: float, message: str) -> None:
        seen.append(fraction)
        if fraction:
            raise Cancelled("stopped")

    # Minutes of work.
    decoding = Decoding(networks(1, 256, 5, 1), cube(400), torch.float32, False)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        decoding.values(stop)
    assert time.monotonic() - started < 5
    assert seen[0] == 0
    assert 0 < seen[-1] < 0.5


def test_dropping_it_ends_its_threads_and_frees_its_memory() -> None:
    before = threading_count()
    decoding = Decoding(networks(1, 256, 5, 1), cube(400), torch.float32, True)
    array = weakref.ref(decoding._values)
    assert threading_count() > before
    started = time.monotonic()
    del decoding
    gc.collect()
    assert time.monotonic() - started < 5
    assert array() is None
    assert threading_count() == before


def threading_count() -> int:
    """Threads of this process, those of C++ included."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Threads"))
    except OSError:
        pytest.skip("only Linux tells")
    return threading.active_count()


def test_a_process_ends_while_it_runs() -> None:
    script = """
import torch
from tests.core.test_fused_decoding import cube, networks
from metainr_core.fused import Decoding
decoding = Decoding(networks(1, 256, 5, 1), cube(400), torch.float32, True)
print("over")
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "over\n", "")
