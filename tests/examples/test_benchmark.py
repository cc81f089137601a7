"""The benchmark's parts run, and what they derive from their measurements is right.

How fast anything is, is not looked at.
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import arithmetic, curve, published, ratios, run
from benchmarks.plain import PlainSiren, Recipe, evaluate, fit, places
from benchmarks.results import Results, series_name
from benchmarks.score import Scorer, choose_steps
from benchmarks.settings import QUICK, Load, brick
from benchmarks.synthetic import smooth_series

from metainr_core import ArraySeries, MetaINRError, SirenConfig
from metainr_core.sampling import coordinates
from metainr_core.siren import Siren, forward

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    QUICK,
    repeats=2,
    seconds=0.001,
    rows=500,
    widths=(16,),
    copy_bytes=1 << 16,
    loads=(
        Load(SirenConfig(8, 1), 8, rounds=1, goals=(0.4, 0.45)),
        Load(brick(4), 34, rounds=0),
    ),
    decode_operations=1e5,
    adam_batches=(256,),
    published_width=16,
    published_batch=200,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def medians(value: Any) -> list[float]:
    """Of all repeated measurements anywhere inside."""
    if isinstance(value, dict):
        own = [value["median"]] if "median" in value else []
        return own + [m for v in value.values() for m in medians(v)]
    return [m for v in value for m in medians(v)] if isinstance(value, list) else []


def test_rates_are_finite_and_above_zero(tmp_path: Path) -> None:
    said: list[str] = []
    bench = run.Benchmark(CPU, TINY, Results(tmp_path), quick=True, say=said.append)
    bench.ceilings()
    bench.throughput()
    data = read(tmp_path)
    assert data["ceilings"]["machine"]["torch"] == torch.__version__
    names = {row["arithmetic"] for row in data["ceilings"]["rows"][0]["products"]}
    assert names == {"fp32", "bf16"}
    whole, bricks = data["throughput"]["rows"]
    assert (whole["network"], whole["bricks"], bricks["bricks"]) == ("8×1", 1, 8)
    assert whole["training"]["muon"]["operations"] == 6 * (3 * 8 + 8 * 8 + 8)
    assert whole["pretraining"]["tasks"] == 8
    assert bricks["pretraining"] is None
    found = medians(data)
    assert len(found) > 15
    assert all(math.isfinite(m) and m > 0 for m in found)
    assert [row["value"] for row in data["gpu"]["rows"]] == [None] * 3
    report = (tmp_path / "report.md").read_text()
    assert "not measured here" in report
    assert ">= 40 %" in report
    assert said


def test_curves_of_all_methods(tmp_path: Path) -> None:
    series = smooth_series(10, 4)
    said: list[str] = []
    bench = run.Benchmark(CPU, TINY, Results(tmp_path), say=said.append)
    bench.curve("waves", series)
    part = read(tmp_path)["curve"]["waves"]
    by_key = {row["key"]: row for row in part["rows"]}
    expected = {"default", "previous", "adam_fp32", "adam_own", "wide", "published"}
    assert expected <= set(by_key)
    for row in by_key.values():
        assert row["parameters"] > 0
        for point in row["rows"]:
            assert point["seconds"] > 0
            assert math.isfinite(point["psnr"])
            assert point["step"] in part["steps"]
    assert [p["epochs"] for p in by_key["published"]["rows"]] == [1, 2]
    assert by_key["published"]["pretrain_seconds"] > 0
    assert len(by_key["adam_fp32"]["grid"]) == 2
    report = (tmp_path / "report.md").read_text()
    assert "1 of 500 outer rounds" in report
    assert "median of 1 series" in report
    if "plot" in part:
        assert (tmp_path / part["plot"]).read_bytes().startswith(b"\x89PNG")
    else:
        assert any("matplotlib" in line for line in said)


def test_a_part_replaces_only_itself(tmp_path: Path) -> None:
    first = Results(tmp_path)
    first.begin("ceilings", {"cores": 1}, False)["rows"].append({"value": math.nan})
    first.begin("curve/a", {}, False)
    first.save()
    again = Results(tmp_path)
    again.begin("curve/b", {}, True)
    data = read(tmp_path)
    assert data["ceilings"]["rows"] == [{"value": None}]
    assert set(data["curve"]) == {"a", "b"}


def test_a_constant_series_is_refused(tmp_path: Path) -> None:
    bench = run.Benchmark(CPU, TINY, Results(tmp_path))
    with pytest.raises(MetaINRError, match="one value everywhere"):
        bench.curve("flat", ArraySeries([np.ones((4, 4, 4))] * 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "speed"], "--only speed: expected some of ceilings"),
        (["--only", "curve"], "need a SERIES"),
        (["--only", "memory", "--steps", "0"], "--steps: expected at least 1"),
        (["--only", "curve", "nowhere.pvd"], "error: "),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        run.main(["--out", str(tmp_path / "out"), *arguments])
    assert stop.value.code
    assert message in f"{stop.value.code} {capsys.readouterr().err}"


def test_it_is_a_script() -> None:
    command = [sys.executable, run.__file__, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--only" in result.stdout


def test_names_of_series_have_no_paths() -> None:
    assert series_name("somewhere/else/run 1.pvd") == "run_1"
    assert series_name("somewhere/flow/dataset.json") == "flow"
    assert series_name("somewhere/step_*.vti") == "step__"


# The plain SIREN, the yardstick


def test_the_plain_siren_is_the_same_function_as_the_core_s() -> None:
    model = PlainSiren(6, 2, 2, seed=1)
    layers = [layer for layer in model.layers if isinstance(layer, torch.nn.Linear)]
    siren = Siren(
        [layer.weight.detach().T[None] for layer in layers],
        [layer.bias.detach()[None, None] for layer in layers],
        30.0,
    )
    shape = (2, 3, 4)
    where = places(shape)
    torch.testing.assert_close(where, coordinates(torch.arange(24), shape))
    torch.testing.assert_close(model(where), forward(siren, where[None])[0], atol=1e-4, rtol=0)


def test_the_plain_siren_learns() -> None:
    series = smooth_series(8, 1)
    where = places(series.grid.shape)
    values = published.normalised(series, series.read(0).reshape(-1, 1))
    model = PlainSiren(32, 2)
    before = float(np.mean((evaluate(model, where) - values) ** 2))
    clock = list(fit(model, where, torch.from_numpy(values), 30.5, Recipe(128, 2e-3)))
    after = float(np.mean((evaluate(model, where) - values) ** 2))
    assert after < before / 50
    assert [done for done, _ in clock] == [*range(1, 31), 30.5]
    assert all(a < b for (_, a), (_, b) in pairwise(clock))


def test_the_published_lattice_is_every_4th_voxel_of_every_2nd_step() -> None:
    series = smooth_series(9, 4)
    where, values = published.samples(series)
    assert where.shape == (27, 3)
    assert values.shape == (2, 27, 1)
    assert where[:4].tolist() == [[-1, -1, -1], [0, -1, -1], [1, -1, -1], [-1, 0, -1]]
    volume = series.read(2)[::4, ::4, ::4].reshape(-1, 1)
    torch.testing.assert_close(
        values[1], torch.from_numpy(published.normalised(series, volume)), atol=0, rtol=0
    )


def test_published_pretraining_learns_and_goes_on_where_it_was(tmp_path: Path) -> None:
    series = smooth_series(9, 4)

    def learned(rounds: int, folder: Path) -> tuple[list[torch.Tensor], float]:
        folder.mkdir(exist_ok=True)
        model, seconds = published.pretrain(series, CPU, rounds, 16, 50_000, folder)
        return [p.detach() for p in model.parameters()], seconds

    start, nothing = learned(0, tmp_path / "one")
    _, first = learned(2, tmp_path / "one")
    longer, seconds = learned(3, tmp_path / "one")
    straight, _ = learned(3, tmp_path / "two")
    assert nothing == 0 < first < seconds
    for a, b, c in zip(longer, straight, start, strict=True):
        # One batch holds the whole lattice: its order changes only the rounding, which Adam's
        # division by a small second moment enlarges.
        torch.testing.assert_close(a, b, atol=3e-5, rtol=0)
        assert not torch.equal(a, c)
    again, same = learned(3, tmp_path / "one")
    assert same == seconds
    assert all(torch.equal(a, b) for a, b in zip(again, longer, strict=True))


# What is derived


def made_up(key: str, *rows: tuple[float, float, float], parameters: int = 1) -> dict[str, Any]:
    """A curve of (passes, seconds, dB)."""
    names = ("epochs", "seconds", "psnr")
    return {
        "key": key,
        "label": key,
        "network": "n",
        "parameters": parameters,
        "rows": [{"step": 1, **dict(zip(names, row, strict=True))} for row in rows],
        "pretrain_seconds": 36.0 if key == "default" else 0.0,
        "note": "",
    }


def test_the_time_to_a_reference_is_interpolated_in_its_logarithm() -> None:
    curves = [
        made_up("default", (1, 1.0, 20.0), (2, 4.0, 40.0)),
        made_up("adam_fp32", (16, 20.0, 30.0)),
    ]
    (row,) = ratios.compare(curves)
    assert row["how"] == "interpolated"
    assert row["seconds"] == pytest.approx(2.0)
    assert row["ratio"] == pytest.approx(0.1)
    assert row["run_ratio"] == pytest.approx(0.2)
    assert row["met"] is True
    assert row["steps_to_repay"] == pytest.approx(2.0)


def test_a_curve_may_be_above_at_once_or_never_there() -> None:
    reference = made_up("adam_fp32", (16, 20.0, 30.0))
    (row,) = ratios.compare([made_up("default", (1, 1.0, 31.0)), reference])
    assert (row["how"], row["ratio"]) == ("at most", 0.05)
    (row,) = ratios.compare([made_up("default", (1, 1.0, 29.0)), reference])
    assert (row["how"], row["ratio"], row["met"]) == ("not reached", None, False)


def test_larger_networks_are_not_held_against_the_published_one() -> None:
    reference = made_up("published", (16, 100.0, 30.0), parameters=5)
    for parameters, met in ((5, True), (6, None)):
        curves = [made_up("default", (1, 1.0, 31.0), parameters=parameters), reference]
        (row,) = ratios.compare(curves)
        assert row["met"] is met


def test_steps_are_odd_and_spread() -> None:
    assert choose_steps(18, 4) == [1, 7, 11, 17]
    assert choose_steps(4, 9) == [1, 3]
    assert choose_steps(1, 4) == [0]


def test_the_score_is_psnr_over_the_series_range() -> None:
    series = ArraySeries([np.zeros((2, 2, 2)), np.full((2, 2, 2), 10.0)])
    score = Scorer(series)
    assert score(1, np.full((8, 1), 9.0)) == pytest.approx(20.0)
    assert score(1, np.full((8, 1), np.nan)) == 0.0


def test_operations_are_counted_as_written_down() -> None:
    siren = SirenConfig(64, 3)
    assert arithmetic.training(siren) == 6 * (3 * 64 + 3 * 64**2 + 64)
    assert arithmetic.decoding(siren) * 3 == arithmetic.training(siren)
    assert arithmetic.orthogonalizing(siren) == 3 * 4 * 3 * 2 * 64**3


def test_parts_of_a_pass_are_left_out_where_they_cannot_be() -> None:
    assert [count for count in curve.accepted([0.5, 1, 2]) if count != 0.5] == [1, 2]
