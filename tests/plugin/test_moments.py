"""Which steps of two inputs belong together."""

from __future__ import annotations

import pytest

from metainr_core.errors import SettingsError

pytest.importorskip("vtkmodules")
from metainr_paraview.moments import Moment, moments, nearest


def test_times_that_both_have() -> None:
    found = moments((0.5, 1.0, 2.5), (1.0, 2.0, 2.5 + 1e-9))
    assert found == [Moment(1, 1.0, 1, 0), Moment(2, 2.5, 2, 2)]


def test_an_input_without_times_is_the_same_at_all() -> None:
    assert moments((0.5, 1.0), ()) == [Moment(0, 0.5, 0, 0), Moment(1, 1.0, 1, 0)]
    assert moments((), (0.5, 1.0)) == [Moment(0, 0.5, 0, 0), Moment(1, 1.0, 0, 1)]
    assert moments((), ()) == [Moment(0, 0.0, 0, 0)]


def test_no_common_time() -> None:
    with pytest.raises(SettingsError, match=r"the Reference has 0 to 1, the Reconstruction 2 to 3"):
        moments((0.0, 1.0), (2.0, 3.0))


def test_the_nearest() -> None:
    found = moments((0.5, 1.0, 2.5), ())
    assert nearest(found, 2.0).time == 2.5
    assert nearest(found, -1.0).time == 0.5
    assert nearest(found, None).time == 0.5
