"""Members of an ensemble."""

from __future__ import annotations

from typing import Any

import pytest

from metainr_core.archive import Archive
from metainr_core.errors import DAMAGE
from metainr_core.members import Member


def test_steps_and_json() -> None:
    member = Member("Re 160", 3, 2, {"Re": 160.0, "mesh": "fine"})
    assert list(member.steps) == [3, 4]
    assert Member.from_json(member.to_json()) == member


@pytest.mark.parametrize(
    "wrong",
    [{}, {"parameters": {"a": []}}, {"first": "x"}, {"count": None}, {"parameters": 3}],
)
def test_what_is_no_member(wrong: dict[str, Any]) -> None:
    data = {**Member("a", 0, 1).to_json(), **wrong} if wrong else {}
    with pytest.raises(DAMAGE):
        Member.from_json(data)


def test_a_series_and_its_archive_are_one_member(make_series: Any, archive: Archive) -> None:
    assert make_series(steps=3).members == [Member("", 0, 3)]
    (member,) = archive.members
    assert member.name == ""
    assert set(archive.steps) <= set(member.steps)
