"""Measure this machine, Meta-INR on it, and what Meta-INR is compared with, in one run.

    python examples/benchmarks/run.py SERIES [SERIES…] [--out FOLDER] [--quick]
        [--only ceilings,throughput,curve,memory] [--device auto|cpu|cuda]

Writes results.json (every repeat), report.md (tables) and a plot per series to the folder. Each
piece is written when it is done; a part measured again replaces what the folder had of it. SERIES
is only needed for the curves. The pretraining of the published procedure is kept in the folder
and goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import ceilings, curve, gpu, machine, plots, report, throughput
from benchmarks.results import Results, series_name
from benchmarks.settings import QUICK, Settings
from benchmarks.synthetic import smooth_series

from metainr_core import MetaINRError, Series, open_series
from metainr_core.device import find_device

PARTS = ("ceilings", "throughput", "curve", "memory")


@dataclasses.dataclass
class Benchmark:
    """One run: what is measured, how much, and where results go."""

    device: torch.device
    settings: Settings
    results: Results
    quick: bool = False
    say: Callable[[str], None] = print

    def ceilings(self) -> None:
        self._collect("ceilings", lambda: [ceilings.measure(self.device, self.settings)])

    def throughput(self) -> None:
        self._collect("throughput", lambda: throughput.measure(self.device, self.settings))
        self._collect("gpu", lambda: gpu.measure(self.device, self.settings))

    def curve(self, name: str, series: Series) -> None:
        if series.value_range().width == 0:
            raise MetaINRError(f"{name} has one value everywhere; there is nothing to compare")
        dims = "×".join(map(str, series.grid.dims))
        found = curve.measure(series, self.device, self.settings, self.results.folder)
        steps = curve.steps_of(series, self.settings)
        more = {"steps": steps, "count": len(series), "dims": dims}
        entry = self._collect(f"curve/{name}", lambda: found, **more)
        picture = f"psnr_{name}.png"
        if plots.draw(self.results.folder / picture, name, entry["rows"]):
            entry["plot"] = picture
            self._write()
        else:
            self.say("  no plot: matplotlib is missing (ParaView's Python usually brings it)")

    def memory(self) -> None:
        from benchmarks import memory  # it runs processes of its own, on a CPU

        def rows() -> Iterable[dict[str, Any]]:
            yield from memory.baselines()
            with tempfile.TemporaryDirectory() as folder:
                yield from memory.measure(self.settings.memory_sizes, Path(folder))

        try:
            self._collect("memory", rows)
        except MetaINRError as error:
            self.results.data["memory"]["note"] = f"Not measured: {error}"
            self._write()
            self.say(f"  not measured: {error}")

    def _collect(
        self, part: str, rows: Callable[[], Iterable[dict[str, Any]]], **more: Any
    ) -> dict[str, Any]:
        entry = self.results.begin(part, machine.describe(self.device), self.quick, **more)
        started = last = time.perf_counter()
        for row in rows():
            entry["rows"].append(row)
            self._write()
            now = time.perf_counter()
            what = row.get("label") or row.get("network") or row.get("what") or row.get("job") or ""
            self.say(f"  {part} {what}: {now - last:.1f} s")
            last = now
        entry["took_seconds"] = time.perf_counter() - started
        self._write()
        return entry

    def _write(self) -> None:
        self.results.save()
        report.write(self.results.folder, self.results.data)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("series", nargs="*", help=".pvd, a quoted glob of .vti, or a folder")
    parser.add_argument("--out", type=Path, default=Path("benchmark"), metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="tiny, on one thread: does it work?")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--steps", type=int, help="of each series; default 4, or one per core")
    parser.add_argument("--published-rounds", type=int, help="default 40; 500 as published")
    parser.add_argument("--wide-rounds", type=int, help="of ours for the published network; 10")
    parser.add_argument("--memory-sizes", type=int, nargs="+", help="edges; default 128 256")
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"--only {unknown[0]}: expected some of {', '.join(PARTS)}")
    if "curve" in parts and not options.series and not options.quick:
        parser.error("the curves need a SERIES; or leave them out with --only")
    names = ("steps", "published_rounds", "wide_rounds", "memory_sizes")
    given = {n: v for n in names if (v := getattr(options, n)) is not None}
    if bad := [n for n, v in given.items() if min(v if isinstance(v, list) else [v]) < 1]:
        parser.error(f"--{bad[0].replace('_', '-')}: expected at least 1")
    if options.quick:
        # Threads that wait for each other take minutes where other programs run; also in the
        # processes whose memory is measured.
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
    settings = dataclasses.replace(QUICK if options.quick else Settings(), **given)
    try:
        device = find_device(options.device)
        run = Benchmark(device, settings, Results(options.out), options.quick)
        all_series = {series_name(text): open_series(text) for text in options.series}
        if "curve" in parts and not all_series:
            all_series = {"waves": smooth_series(24, 8)}
        for part in (p for p in PARTS if p in parts):
            print(part, flush=True)
            if part != "curve":
                getattr(run, part)()
                continue
            for name, series in all_series.items():
                run.curve(name, series)
    except MetaINRError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {options.out}/report.md, results.json and plots")


if __name__ == "__main__":
    main()
