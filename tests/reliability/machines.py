"""Decodes archives as other machines would, and says how far off that is.

    python tests/reliability/machines.py run.minr SERIES.pvd [run2.minr SERIES2.pvd …]

Other machines: the compiled library for older processors, without bf16, and PyTorch instead of the
compiled library. Largest differences over all steps, as shares of the largest decoded value: of the
values, of the root mean square of the errors, of the largest error; and dB of PSNR.
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
    "AVX-512 without bf16": ("skylake-avx512", False),
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


def difference(original: np.ndarray, here: np.ndarray, there: np.ndarray) -> list[float]:
    scale = float(np.abs(here).max())
    a, b = (Errors.between(original, values) for values in (here, there))
    width = Range.of(original).width
    return [
        float(np.abs(here - there).max()) / scale,
        abs(a.mean_squared**0.5 - b.mean_squared**0.5) / scale,
        abs(a.largest - b.largest) / scale,
        abs(psnr(a.mean_squared, width) - psnr(b.mean_squared, width)),
    ]


def compared(path: str, name: str) -> None:
    """Prints rows of the table for one archive."""
    archive = Archive.open(path)
    series = open_series(name, archive.array)
    here = {step: archive.decode(step, device="cpu") for step in archive.steps}
    for machine, (processor, bf16) in MACHINES.items():
        worst: dict[str, np.ndarray] = {}
        with as_on(processor, bf16):
            for record in archive.records:
                there = archive.decode(record.step, device="cpu")
                found = difference(series.read(record.step), here[record.step], there)
                worst[record.precision] = np.maximum(worst.get(record.precision, 0.0), found)
        for precision, figures in worst.items():
            shown = " | ".join(f"{value:.2g}" for value in figures)
            print(f"| {Path(path).stem} | {precision} | {machine} | {shown} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="RUN.minr SERIES")
    files = parser.parse_args().files
    if len(files) % 2:
        parser.error("expected an archive and its series, in pairs")
    print("| archive | precision | machine | values | rms of errors | largest error | PSNR, dB |")
    print("|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory() as cache,
        mock.patch.dict(os.environ, XDG_CACHE_HOME=cache),
    ):
        for path, name in zip(files[::2], files[1::2], strict=True):
            compared(path, name)


if __name__ == "__main__":
    main()
