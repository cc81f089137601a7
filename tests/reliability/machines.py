"""Decodes archives as other machines would, and says how far off that is.

    python tests/reliability/machines.py run.minr SERIES.pvd [run2.minr SERIES2.pvd …]

Other machines: the compiled library for older processors (AVX2, SSE2), without bf16, and no
compiled library at all. Shares of the largest decoded value; dB over the step's range.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from metainr_core import device, fused
from metainr_core.archive import Archive
from metainr_core.fused import build
from metainr_core.metrics import Errors, psnr
from metainr_core.series import Range, open_series

# The compiler's name of the processor (empty: no library), and whether it multiplies bf16.
MACHINES = {
    "here, without bf16": ("native", False),
    "AVX-512 without bf16 instructions": ("skylake-avx512", False),
    "AVX2": ("haswell", False),
    "SSE2": ("x86-64", False),
    "PyTorch": ("", True),
    "PyTorch without bf16": ("", False),
}


@contextmanager
def as_on(processor: str, bf16: bool) -> Iterator[None]:
    """The package as it is on another machine."""
    flags = tuple(f"-march={processor}" if f.startswith("-march") else f for f in build._FLAGS)
    with (
        tempfile.TemporaryDirectory() as cache,
        mock.patch.dict(os.environ, XDG_CACHE_HOME=cache),
        mock.patch.object(build, "_FLAGS", flags),
        mock.patch.object(device, "_cpu_has_bf16", return_value=bf16),
    ):
        build.library.cache_clear()
        try:
            if processor:
                yield
            else:
                with mock.patch.object(fused, "library", return_value=None):
                    yield
        finally:
            build.library.cache_clear()


def decoded(path: str) -> dict[int, np.ndarray]:
    archive = Archive.open(path)
    return {step: archive.decode(step, device="cpu") for step in archive.steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="RUN.minr SERIES")
    files = parser.parse_args().files
    if len(files) % 2:
        parser.error("expected an archive and its series, in pairs")
    print("| archive | precision | machine | values | rms of errors | largest error | PSNR, dB |")
    print("|---|---|---|---|---|---|---|")
    for path, name in zip(files[::2], files[1::2], strict=True):
        archive = Archive.open(path)
        series = open_series(name, archive.array)
        here = decoded(path)
        kinds = sorted({record.precision for record in archive.records})
        for machine, (processor, bf16) in MACHINES.items():
            with as_on(processor, bf16):
                there = decoded(path)
            for kind in kinds:
                worst = np.zeros(4)
                for record in archive.records:
                    if record.precision == kind:
                        found = _difference(
                            series.read(record.step),
                            *map(lambda v, s=record.step: v[s], (here, there)),
                        )
                        worst = np.maximum(worst, found)
                print(
                    f"| {Path(path).stem} | {kind} | {machine} | "
                    + " | ".join(f"{v:.2g}" for v in worst)
                    + " |"
                )


def _difference(original: np.ndarray, here: np.ndarray, there: np.ndarray) -> list[float]:
    scale = float(np.abs(here).max())
    a, b = (Errors.between(original, values) for values in (here, there))
    width = Range.of(original).width
    return [
        float(np.abs(here - there).max()) / scale,
        abs(a.mean_squared**0.5 - b.mean_squared**0.5) / scale,
        abs(a.largest - b.largest) / scale,
        abs(psnr(a.mean_squared, width) - psnr(b.mean_squared, width)),
    ]


if __name__ == "__main__":
    main()
