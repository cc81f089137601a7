"""The paper's table and its ablations are measured, kept, continued and read rightly.

How good or fast anything is, is not looked at.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import ablation_report, paper_report, paper_table
from benchmarks.paper_ablations import carried
from benchmarks.paper_curves import summary
from benchmarks.paper_fits import Fits
from benchmarks.paper_methods import QUICK, PaperSettings, methods, tuning_grid
from benchmarks.results import Results
from benchmarks.synthetic import smooth_series
from benchmarks.thinned import Thinned

from metainr_core import (
    Archive,
    ArraySeries,
    EncodeConfig,
    Grid,
    MetaINRError,
    PretrainConfig,
    SirenConfig,
    encode,
    pretrain,
)

CPU = torch.device("cpu")
METHODS = {
    "scratch",
    "tuned",
    "tuned_own",
    "pretrained",
    "paper",
    "muon",
    "default_pooled",
    "default",
    "wide",
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> paper_table.Run:
    """A finished table of one series."""
    folder = tmp_path_factory.mktemp("table")
    results = Results(folder, "paper.json")
    run = paper_table.Run({"waves": smooth_series(12, 4)}, results, QUICK, CPU, quick=True)
    run.table()
    return run


def rows(run: paper_table.Run) -> list[dict[str, Any]]:
    return run.results.data["fits"]["waves/thin"]["rows"]


def test_all_methods_have_all_figures(table: paper_table.Run) -> None:
    part = json.loads(table.results.path.read_text())["table"]["waves"]
    curves = {c["key"]: c for c in part["curves"]}
    assert set(curves) == METHODS
    for curve in curves.values():
        assert curve["parameters"] > 0
        for row in curve["rows"]:
            assert row["step"] == 1  # which no prior has read
            for name in ("seconds", "bytes", "archive_bytes"):
                assert row[name] > 0
            for name in ("psnr", "psnr_own", "ssim"):
                assert np.isfinite(row[name])
        assert (curve["pretrain_seconds"] > 0) == bool(curve["key"] in PRIORS)
    assert len(curves["tuned_own"]["note"]) > 10
    assert curves["scratch"]["parameters"] == curves["paper"]["parameters"]


PRIORS = {"pretrained", "paper", "default_pooled", "default", "wide"}


def test_the_figures_are_those_of_the_archives(table: paper_table.Run) -> None:
    for row in rows(table)[::5]:
        path = table.results.folder / "waves" / "thin" / f"{row['archive']}.minr"
        record = Archive.open(path).record(row["step"])
        assert row["psnr"] == pytest.approx(record.psnr, abs=0.01)
        assert row["psnr_series"] == pytest.approx(record.psnr_series, abs=0.01)
        assert row["bytes"] == record.bytes
        assert row["seconds"] <= record.seconds


def test_report_csv_and_plot(table: paper_table.Run) -> None:
    folder = table.results.folder
    text = (folder / "paper_table.md").read_text()
    assert "2 of 500 outer rounds" in text
    assert "Quick settings" in text
    assert ("\nLPIPS unavailable: " in text) == ("| unavailable |" in text)
    with (folder / "paper_table.csv").open() as file:
        lines = list(csv.DictReader(file))
    lengths = {(line["method"], line["passes"]) for line in lines}
    assert len(lines) == len(lengths) == 9 * 2
    assert all(float(line["psnr_series"]) > 0 for line in lines)
    assert (folder / "paper_waves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_goes_on_where_it_was(table: paper_table.Run, tmp_path: Path) -> None:
    before = json.dumps(rows(table))
    results = Results(table.results.folder, "paper.json")
    again = paper_table.Run(table.all_series, results, QUICK, CPU, quick=True)
    again.table()
    # Fitted anew, at least one clock would show another time.
    assert [r["seconds"] for r in rows(again)] == [r["seconds"] for r in json.loads(before)]


def test_other_settings_or_values_are_measured(tmp_path: Path) -> None:
    series = smooth_series(8, 2)
    config = EncodeConfig.preset(
        "default", siren=SirenConfig(4, 1), init="random", epochs=1, device="cpu"
    )
    known: list[dict[str, Any]] = []

    def fits(of: ArraySeries) -> Fits:
        return Fits(of, tmp_path, CPU, known, {}, lambda: None)

    first = fits(series).row("m", 1, None, config)
    assert fits(series).row("m", 1, None, config) is first
    assert len(known) == 1
    fits(series).row("m", 1, None, dataclasses.replace(config, seed=1))
    fits(series).row("m", 0, None, config)
    prior = pretrain(series, PretrainConfig(siren=SirenConfig(4, 1), outer_steps=1))
    started = dataclasses.replace(config, siren=None, init="meta")
    fits(series).row("m", 1, prior, started)
    assert len(known) == 4


def test_a_text_for_lpips_is_measured_when_that_can_be(tmp_path: Path) -> None:
    series = smooth_series(8, 2)
    config = EncodeConfig(siren=SirenConfig(4, 1), init="random", epochs=1, device="cpu")
    known: list[dict[str, Any]] = []
    without = Fits(series, tmp_path, CPU, known, {}, lambda: None, lambda a, b, g: "no weights")
    assert without.row("m", 1, None, config)["lpips"] == "no weights"
    found = Fits(series, tmp_path, CPU, known, {}, lambda: None, lambda a, b, g: 0.25)
    assert found.row("m", 1, None, config)["lpips"] == 0.25
    assert len(known) == 1


def test_ablations(tmp_path: Path) -> None:
    results = Results(tmp_path, "ablations.json")
    all_series = {"waves": smooth_series(12, 4), "other": smooth_series(12, 4, seed=1)}
    paper_table.Run(all_series, results, QUICK, CPU, quick=True).ablations()
    data = json.loads(results.path.read_text())["ablations"]
    assert set(data) == set(all_series)
    for name, entry in data.items():
        found = {(row["part"].split(" (")[0], row["label"]): row for row in entry["rows"]}
        labels = {label for _, label in found}
        assert {
            "K 4",
            "K 8",
            "K 16",
            "K 32",
            "lattice, λs 2, λt 2",
            "lattice, λs 8, λt 2",
        } <= labels
        assert {"lattice, λs 4, λt 1", "lattice, λs 4, λt 4", "random, λt 2", "no prior"} <= labels
        part = "Whose prior, default network"
        own, others = found[part, "prior of waves"], found[part, "prior of other"]
        assert own["points"] != others["points"]
        (_, checks) = zip(*(k for k in found if k[0].startswith("Two impl")), strict=True)
        assert checks == ("ours", "independent, plain PyTorch")
        assert all(p["seconds"] > 0 for row in entry["rows"] for p in row["points"]), name
    text = (tmp_path / "paper_ablations.md").read_text()
    assert "settled after" in text
    with (tmp_path / "paper_ablations.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(len(r["points"]) for e in data.values() for r in e["rows"])


# What is derived


def curve(key: str, *points: tuple[int, float, float], **more: Any) -> dict[str, Any]:
    """Of (passes, seconds, dB)."""
    names = ("epochs", "seconds", "psnr")
    found = [{"step": 1, **dict(zip(names, p, strict=True))} for p in points]
    shown = [points[-1][0]]
    return {"key": key, "label": key, "rows": found, "shown": shown, **more}


def test_times_to_reach_each_other() -> None:
    slow = curve("scratch", (16, 4.0, 20.0), (100, 25.0, 30.0))
    quick = curve("paper", (8, 2.0, 25.0), (16, 8.0, 35.0))
    best = curve("default", (1, 0.5, 40.0))
    assert paper_report.matrix([slow, quick, best]) == [
        ["scratch", "", "–", "–"],
        ["paper", "4.00 (6.25 ×)", "", "–"],
        ["default", "≤ 0.500 (50.0 ×)", "≤ 0.500 (16.0 ×)", ""],
    ]


def test_a_mean_needs_a_figure_of_every_step() -> None:
    found = [
        {"epochs": 1, "ssim": 0.5, "lpips": 0.1, "chamfer_voxels": None},
        {"epochs": 1, "ssim": 0.7, "lpips": "no weights", "chamfer_voxels": 1.0},
        {"epochs": 2, "ssim": 0.9, "lpips": 0.3, "chamfer_voxels": 2.0},
    ]
    mean = summary({"rows": found}, 1)
    assert mean["ssim"] == pytest.approx(0.6)
    assert mean["lpips"] is mean["chamfer_voxels"] is None
    assert summary({"rows": found}, 2)["chamfer_voxels"] == 2.0


def test_when_a_fit_has_settled() -> None:
    def points(*decibels: float) -> list[dict[str, float]]:
        return [{"epochs": 2.0**i, "psnr": d} for i, d in enumerate(decibels)]

    assert ablation_report.settled(points(20, 30, 30.4, 35)) == "2"
    assert ablation_report.settled(points(20, 30, 31)) == "> 4"


def test_thinned_keeps_every_nth_voxel() -> None:
    volumes = [np.arange(60, dtype=np.float32).reshape(3, 4, 5) + 100 * i for i in range(2)]
    grid = Grid((5, 4, 3), spacing=(1.0, 2.0, 3.0))
    thin = Thinned(ArraySeries(volumes, grid=grid, array="u"), 2)
    assert (thin.grid.dims, thin.grid.spacing, thin.array) == ((3, 2, 2), (2.0, 4.0, 6.0), "u")
    np.testing.assert_array_equal(thin.read(1)[..., 0], volumes[1][::2, ::2, ::2])


def test_published_settings_are_kept() -> None:
    settings = PaperSettings()
    found = {m.key: m for m in methods(settings, Grid((80, 30, 12)), {}, SirenConfig(32, 3))}
    for key in ("scratch", "pretrained", "paper"):
        config = found[key].config(16)
        assert (config.learning_rate, config.schedule, config.optimizer) == (
            1e-5,
            "constant",
            "adam",
        )
        assert config.batch_size == 686
    assert found["scratch"].config(16).siren == SirenConfig(256, 5, first_scale=1.0)
    assert {16, 100} <= set(found["scratch"].epochs)
    assert found["paper"].shown == found["pretrained"].shown == (16,)
    assert dataclasses.replace(settings, pass_batches=0).batch(Grid((80, 30, 12))) == 50_000


def test_tuned_adam_is_the_best_of_rates_and_batches() -> None:
    grid = tuning_grid("tuned", PaperSettings(), Grid((80, 30, 12)), {}, SirenConfig(32, 3))
    tried = {(m.config(16).batch_size, m.config(16).learning_rate) for m in grid}
    assert len(tried) == len(grid) == 8
    assert all(m.config(16).schedule == "cosine" for m in grid)


def test_a_prior_carried_over_maps_the_new_range(tmp_path: Path) -> None:
    waves = smooth_series(8, 2)
    prior = pretrain(waves, PretrainConfig(siren=SirenConfig(4, 1), outer_steps=1))
    other = ArraySeries([np.linspace(5, 9, 60).reshape(3, 4, 5)] * 2, array="p")
    config = EncodeConfig(epochs=1)
    with pytest.raises(MetaINRError, match="pretrain on this series"):
        encode(other, tmp_path / "a.minr", prior=prior, config=config)
    moved = carried(prior, other)
    assert (moved.value_range.low, moved.value_range.high) == ((5.0,), (9.0,))
    assert moved.digest == prior.digest
    decoded = encode(other, tmp_path / "b.minr", prior=moved, config=config).decode(0)
    assert 4 < decoded.mean() < 10
    vectors = ArraySeries([np.zeros((3, 4, 5, 2))])
    with pytest.raises(MetaINRError, match="compare series with as many"):
        carried(prior, vectors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.pvd"], "error: "),
        (["nowhere.pvd", "--steps", "0"], "--steps: expected at least 1"),
        (["nowhere.pvd", "--rounds", "0"], "--rounds: expected at least 1"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        paper_table.main(["--out", str(tmp_path / "out"), *arguments])
    assert stop.value.code
    assert message in f"{stop.value.code} {capsys.readouterr().err}"


def test_a_constant_series_is_refused(tmp_path: Path) -> None:
    flat = {"flat": ArraySeries([np.ones((4, 4, 4))] * 2)}
    run = paper_table.Run(flat, Results(tmp_path), QUICK, CPU)
    with pytest.raises(MetaINRError, match="one value everywhere"):
        run.table()


def test_it_is_a_script() -> None:
    command = [sys.executable, paper_table.__file__, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--ablations" in result.stdout
