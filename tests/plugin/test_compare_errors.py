"""Meta-INR Compare: arrays, bad input, and what is left of a failed run."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.tables import field_text

from tests.plugin.pairs import (
    TABLE,
    check_error,
    make,
    off,
    row,
    static,
)


def test_an_array_of_another_name(lab: Any, inputs: tuple[Any, Any]) -> None:
    other = static(lab, off(lab, 1.0), lab.grid, "copy")
    expected = 'the Reconstruction: there is no point array "speed"; its arrays: copy (point)'
    check_error(lab, make(inputs[0], other), expected)
    algorithm = make(inputs[0], other, ReconstructionScalars="copy")
    algorithm.UpdateTimeStep(1.0)
    assert row(lab, algorithm)["max_error"] == pytest.approx(0.11, rel=1e-4)


def test_the_only_array_needs_no_choice(lab: Any, inputs: tuple[Any, Any]) -> None:
    for array, association in (("", 0), ("matching", 2)):
        algorithm = make(*inputs, array=array, association=association)
        algorithm.UpdateTimeStep(1.0)
        assert row(lab, algorithm)["max_error"] == pytest.approx(0.11, rel=1e-4)
    image = lab.image(lab.wave(lab.grid, 0.0), lab.grid)
    image.GetPointData().AddArray(
        lab.image(off(lab, 0.0), lab.grid, "b").GetPointData().GetArray(0)
    )
    algorithm = make(lab.source([image], None), inputs[1], array="")
    check_error(lab, algorithm, "choose a point or cell array; there are: speed (point), b")


# --- errors


def test_bad_settings(lab: Any, inputs: tuple[Any, Any]) -> None:
    check_error(lab, make(*inputs, TimeSteps="some"), "TimeSteps is 'some'; current or all")
    check_error(lab, make(*inputs, isovalues=(math.nan,)), "Isovalues is [nan]")
    check_error(
        lab, make(*inputs, array="lost"), 'no point array "lost"; its arrays: speed (point)'
    )


def test_no_common_time(lab: Any, inputs: tuple[Any, Any]) -> None:
    late = lab.source(lab.waves(), (7.0, 8.0, 9.0, 10.0))
    expected = "no time is in both inputs: the Reference has 0.5 to 3, the Reconstruction 7 to 10"
    check_error(lab, make(inputs[0], late), expected)


def test_grids_that_do_not_overlap(lab: Any, inputs: tuple[Any, Any]) -> None:
    grid = dataclasses.replace(lab.grid, origin=(100.0, -2.0, 3.0))
    check_error(lab, make(inputs[0], static(lab, off(lab, 0.0), grid)), "do not overlap: along x")
    turned = dataclasses.replace(lab.grid, direction=(0, -1, 0, 1, 0, 0, 0, 0, 1))
    check_error(lab, make(inputs[0], static(lab, off(lab, 0.0), turned)), "turned against")


def test_another_number_of_components(lab: Any, inputs: tuple[Any, Any]) -> None:
    other = lab.source(lab.waves(components=3))
    check_error(lab, make(inputs[0], other), 'the Reference has 1 components, "speed" of the Recon')


def test_an_input_that_failed(lab: Any, inputs: tuple[Any, Any]) -> None:
    from vtkmodules.vtkCommonDataModel import vtkImageData

    empty = lab.source([vtkImageData()], None)
    check_error(lab, make(inputs[0], empty), "the Reconstruction is empty: what is before it")
    check_error(lab, make(empty, inputs[0]), "the Reference is empty: what is before it")


def test_values_that_are_not_finite(lab: Any, inputs: tuple[Any, Any]) -> None:
    values = off(lab, 0.0)
    values[1, 2, 3] = np.nan
    bad = static(lab, values, lab.grid)
    expected = 'step 0 (time 0) of the Reconstruction: array "speed" has 1 non-finite'
    check_error(lab, make(inputs[0], bad), expected)
    algorithm = make(inputs[0], bad, IgnoreNonfinite=1)
    algorithm.Update()
    assert row(lab, algorithm)["psnr"] > 0


def test_nothing_is_left_of_a_failed_run_and_a_cure_helps(
    lab: Any, inputs: tuple[Any, Any]
) -> None:
    algorithm = make(*inputs)
    algorithm.UpdateTimeStep(1.0)
    algorithm.SetReconstructionScalars("lost")
    check_error(lab, algorithm, 'no point array "lost"')
    algorithm.SetReconstructionScalars("")
    algorithm.Update()
    assert row(lab, algorithm)["time"] == 1.0
    assert field_text(algorithm.GetOutputDataObject(TABLE), ERROR_ARRAY) == ""
