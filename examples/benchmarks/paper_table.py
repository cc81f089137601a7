"""The paper's comparison (arXiv 2502.09669, section 4), measured on one's own series.

    python examples/benchmarks/paper_table.py SERIES [SERIES…] [--out FOLDER] [--quick]
        [--ablations] [--backbone FILE] [--every N] [--steps N] [--rounds N] …

SIREN from scratch as published and tuned, pretrained SIREN, Meta-INR as published and by default,
all in the same arithmetic: PSNR, SSIM, LPIPS, Chamfer distance, seconds, bytes, and how much
sooner one is as good as another. Writes paper.json, paper_table.md, paper_table.csv and a plot per
series to the folder; --ablations instead writes paper_ablations.md and .csv. A run that was
interrupted goes on where it was. Set OMP_NUM_THREADS=1 for seconds that other work on the machine
does not change. LPIPS needs the weights of AlexNet and a display (xvfb-run -a).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import ablation_report, machine, paper_report
from benchmarks.ceilings import training_arithmetic
from benchmarks.paper_ablations import Ablations
from benchmarks.paper_curves import Curves
from benchmarks.paper_fits import Fits
from benchmarks.paper_methods import QUICK, PaperSettings
from benchmarks.results import Results, series_name
from benchmarks.thinned import Thinned

from metainr_core import MetaINRError, Series, open_series
from metainr_core.device import find_device
from metainr_core.perception import RenderedLpips


@dataclasses.dataclass
class Run:
    """What is measured of which series, and where results go.

    ``backbone``: of LPIPS; None takes PyTorch's cache, or says what is missing.
    """

    all_series: Mapping[str, Series]
    results: Results
    settings: PaperSettings
    device: torch.device
    quick: bool = False
    backbone: Path | None = None

    def __post_init__(self) -> None:
        self.common = {"device": self.device.type, "precision": training_arithmetic(self.device)}

    def table(self) -> None:
        for name, series in self.all_series.items():
            fits = self._fits(name, Thinned(series, self.settings.every), "thin")
            fits.perception = RenderedLpips("alex", self.backbone, fits.series.value_range())
            curves = Curves(fits, self.settings, self.common)
            words = curves.words(series.grid.dims)
            entry = self._begin("table", name, curves=[], words=words)
            curves.learn()
            for found in curves.measure(curves.all_methods()):
                entry["curves"] = found
                self.results.save()
                paper_report.write(self.results.folder, self.results.data["table"])

    def ablations(self) -> None:
        thin, whole = {}, {}
        for name, series in self.all_series.items():
            thin[name] = self._fits(name, Thinned(series, self.settings.every), "thin")
            whole[name] = self._fits(name, series, "whole")
        for name in self.all_series:
            entry = self._begin("ablations", name)
            for row in Ablations(name, whole, thin, self.settings, self.common).rows():
                print(f"  {row['part']}: {row['label']}", flush=True)
                entry["rows"].append(row)
                self.results.save()
                ablation_report.write(self.results.folder, self.results.data["ablations"])

    def _begin(self, part: str, name: str, **more: Any) -> dict[str, Any]:
        print(f"{part} {name}", flush=True)
        return self.results.begin(
            f"{part}/{name}", machine.describe(self.device), self.quick, **more
        )

    def _fits(self, name: str, series: Series, kind: str) -> Fits:
        if series.value_range().width == 0:
            raise MetaINRError(f"{name} has one value everywhere; there is nothing to compare")
        # Kept through runs: each row says of what data and settings it is.
        known = self.results.data.setdefault("fits", {}).setdefault(f"{name}/{kind}", {})
        rows, seconds = known.setdefault("rows", []), known.setdefault("prior_seconds", {})
        path = self.results.folder / name / kind
        return Fits(series, path, self.device, rows, seconds, self.results.save)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("series", nargs="+", help=".pvd, a quoted glob of .vti, or a folder")
    parser.add_argument("--out", type=Path, default=Path("benchmark"), metavar="FOLDER")
    parser.add_argument("--ablations", action="store_true", help="one thing changed at a time")
    parser.add_argument("--quick", action="store_true", help="tiny, on one thread: does it work?")
    parser.add_argument("--backbone", type=Path, metavar="FILE", help="AlexNet's, for LPIPS")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--every", type=int, help="voxel per axis that is kept; default 2")
    parser.add_argument("--steps", type=int, help="of each series; default 3")
    parser.add_argument("--rounds", type=int, help="of the published pretraining; default 500")
    options = parser.parse_args(arguments)
    given = {n: v for n in ("every", "steps", "rounds") if (v := getattr(options, n)) is not None}
    if bad := [n for n, v in given.items() if v < 1]:
        parser.error(f"--{bad[0]}: expected at least 1")
    if options.quick:
        torch.set_num_threads(1)
    settings = dataclasses.replace(QUICK if options.quick else PaperSettings(), **given)
    results = Results(options.out, "ablations.json" if options.ablations else "paper.json")
    try:
        device = find_device(options.device)
        all_series = {series_name(text): open_series(text) for text in options.series}
        run = Run(all_series, results, settings, device, options.quick, options.backbone)
        run.ablations() if options.ablations else run.table()
    except MetaINRError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {options.out}/{'paper_ablations' if options.ablations else 'paper_table'}.md")


if __name__ == "__main__":
    main()
