"""Values far from those that a prior was learned from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.config import EncodeConfig
from metainr_core.encoding import encode
from metainr_core.errors import MetaINRWarning, PriorError
from metainr_core.prior import Prior
from metainr_core.prior_range import check_prior_range
from metainr_core.series import ArraySeries, Range

Maker = Callable[..., ArraySeries]


def check(prior: Prior, series: ArraySeries) -> list[str]:
    """What is warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_prior_range(prior, series, {s: scan.range for s, scan in enumerate(series.scan())})
    return [str(w.message) for w in told]


def changed(make_series: Maker, change: Callable[[np.ndarray], Any]) -> ArraySeries:
    """Three steps, of which the last is changed."""
    steps = [make_series().read(s) for s in range(3)]
    return ArraySeries([*steps[:2], change(steps[2])], array="values", name="run.pvd")


@pytest.mark.parametrize(
    "change", [lambda v: v, lambda v: 3 * v, lambda v: v / 1e4, lambda v: 0 * v, lambda v: v + 3]
)
def test_values_near_those_of_the_prior_are_fine(
    make_series: Maker, prior: Prior, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    assert check(prior, changed(make_series, change)) == []


@pytest.mark.parametrize("change", [lambda v: 10 * v, lambda v: v + 15])
def test_values_far_from_them_are_told(
    make_series: Maker, prior: Prior, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    [text] = check(prior, changed(make_series, change))
    assert text.startswith("step 2 of run.pvd has values from ")
    assert " the prior was learned from -1." in text
    assert text.endswith(
        "such steps get worse; pretrain on this series with --lambda-t 1, which reads all of its"
        " steps"
    )


@pytest.mark.parametrize("size", [1e5, 1e37])
def test_values_that_no_network_reaches_are_refused(
    make_series: Maker, prior: Prior, tmp_path: Path, quick: EncodeConfig, size: float
) -> None:
    series = changed(make_series, lambda v: size * v)
    config = replace(quick, siren=None, init="meta")
    with pytest.raises(PriorError, match=r"step 2 of run\.pvd has values .* closer to their midd"):
        encode(series, tmp_path / "run.minr", prior=prior, config=config)
    assert list(tmp_path.iterdir()) == []
    # Of the other steps nothing is wrong.
    encode(series, tmp_path / "run.minr", prior=prior, config=config, steps=[0, 1])


def test_a_series_that_is_a_detail_to_the_prior_is_told(make_series: Maker, prior: Prior) -> None:
    series = ArraySeries([make_series().read(0) * np.float32(0.01)] * 2)
    [text] = check(prior, series)
    assert "the arrays has only -0.01" in text
    assert check(prior, ArraySeries([series.read(0) * 0] * 2)) == []


def test_components_are_looked_at_one_by_one(make_series: Maker, prior: Prior) -> None:
    two = replace(prior, components=2, value_range=Range((-1.0, -100.0), (1.0, 100.0)))
    steps = make_series(components=2).read(0)
    assert check(two, ArraySeries([steps * np.array([1, 60])])) == []
    with pytest.warns(MetaINRWarning, match="step 0"):
        check_prior_range(two, ArraySeries([steps]), {0: Range((-20.0, 0.0), (20.0, 1.0))})
