"""Pictures: what is drawn where, and what it is coloured by."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

from metainr_core.errors import MetaINRError, SettingsError
from metainr_core.figures import color_values, draw_legends, draw_map, map_png, new_figure
from metainr_core.members import Member
from metainr_core.projection import Projection

pytest.importorskip("matplotlib")
MEMBERS = (
    Member("slow", 0, 3, {"Re": 160.0, "inlet": "jet"}),
    Member("fast", 3, 2, {"angle": 4.0, "inlet": "slot"}),
)


def projection(members: tuple[Member, ...] = MEMBERS) -> Projection:
    count = members[-1].steps.stop
    return Projection(
        steps=tuple(range(count)),
        times=tuple(0.5 * s for s in range(count)),
        members=members,
        member=tuple(i for i, m in enumerate(members) for _ in m.steps),
        x=np.arange(count) ** 2.0,
        y=-np.arange(count) / 2.0,
        method="pca",
        explained_variance=(0.75, 0.125),
    )


def drawn(found: Projection, color: str = "time", selected: tuple[int, ...] = ()) -> Any:
    axes = new_figure((4, 3)).add_subplot()
    draw_map(axes, found, color, selected)
    draw_legends(axes, found, color)
    return axes


def test_each_member_has_its_line_and_its_points() -> None:
    found = projection()
    axes = drawn(found, selected=(1, 4))
    lines = [line.get_xydata().tolist() for line in axes.get_lines()]
    assert lines == [found.positions[:3].tolist(), found.positions[3:].tolist()]
    *points, rings = [c.get_offsets().tolist() for c in axes.collections]
    assert points == lines
    assert rings == found.positions[[1, 4]].tolist()
    assert [text.get_text() for text in axes.texts] == ["1", "4"]
    assert axes.get_xlabel() == "principal component 1 (75 % of the variance)"


def test_time_has_a_scale_over_all_members() -> None:
    axes = drawn(projection())
    first, second = (c.get_facecolors() for c in axes.collections[:2])
    assert not np.array_equal(first[0], second[-1])
    (bar,) = [a for a in axes.figure.axes if a is not axes]
    assert bar.get_ylabel() == "time"
    assert bar.get_ylim() == (0.0, 2.0)


def test_an_unknown_parameter_is_grey() -> None:
    axes = drawn(projection(), "Re")
    assert axes.collections[1].get_facecolors()[0][:3] == pytest.approx([0.7] * 3)
    assert len(axes.collections[1].get_offsets()) == 2


def test_texts_have_a_legend() -> None:
    axes = drawn(projection(), "inlet")
    titles = {
        legend.get_title().get_text(): legend
        for legend in axes.get_children()
        if type(legend).__name__ == "Legend"
    }
    assert set(titles) == {"inlet", "member"}
    assert [t.get_text() for t in titles["inlet"].get_texts()] == ["jet", "slot"]
    assert [t.get_text() for t in titles["member"].get_texts()] == ["slow", "fast"]


@pytest.mark.parametrize("members", [1, 40])
def test_any_number_of_members(members: int) -> None:
    made = tuple(Member(f"run {i}", 2 * i, 2, {"Re": float(i)}) for i in range(members))
    assert map_png(projection(made), [0, 1], "Re").startswith(b"\x89PNG")


def test_one_step() -> None:
    assert map_png(projection((Member("", 0, 1),))).startswith(b"\x89PNG")


def test_what_it_can_be_coloured_by() -> None:
    assert color_values(projection(), "time") == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert color_values(projection(), "angle")[3:] == [4.0, 4.0]
    assert all(math.isnan(float(v)) for v in color_values(projection(), "angle")[:3])
    with pytest.raises(SettingsError, match=r"color is 'angel', .* one of time, Re, inlet, angle"):
        color_values(projection(), "angel")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MetaINRError, match=r"needs matplotlib, .* pip install 'metainr\[compare"):
        new_figure((1, 1))
