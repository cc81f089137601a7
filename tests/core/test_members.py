"""Members of an ensemble."""

from __future__ import annotations

from typing import Any

import pytest

from metainr_core.archive import Archive
from metainr_core.errors import DAMAGE, SettingsError
from metainr_core.members import (
    Member,
    described,
    find_member,
    is_ensemble,
    member_of,
    members_from_json,
    merged,
    place_in_chain,
)

RUNS = [Member("a", 0, 3), Member("b", 3, 1, {"Re": 160.0, "mesh": "fine"}), Member("c", 5, 4)]


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


def test_the_member_of_a_step() -> None:
    assert [member_of(RUNS, step).name for step in (0, 2, 3, 5, 8)] == list("aabcc")
    for step in (-1, 4, 9):
        with pytest.raises(SettingsError, match=f'step {step} is of no member: "a", "b", "c"'):
            member_of(RUNS, step)


def test_members_by_name() -> None:
    assert find_member(RUNS, "b", "run.minr") is RUNS[1]
    with pytest.raises(SettingsError, match=r"no member 'd'; its members: \"a\", \"b\""):
        find_member(RUNS, "d", "run.minr")
    with pytest.raises(SettingsError, match=r"run\.minr is no ensemble"):
        find_member([Member("", 0, 3)], "d", "run.minr")


def test_ensembles_have_names() -> None:
    assert is_ensemble(RUNS)
    assert is_ensemble(RUNS[:1])
    assert not is_ensemble([Member("", 0, 3)])
    assert described(RUNS[0]) == 'member "a"'
    assert described(RUNS[1]) == 'member "b" (Re 160, mesh fine)'
    assert described(Member("", 0, 3)) == "no ensemble"


def test_key_frames_count_from_the_first_step_of_a_member() -> None:
    places = [place_in_chain(RUNS, step, 2) for member in RUNS for step in member.steps]
    assert places == [0, 1, 0, 0, 0, 1, 0, 1]
    # Of any other series, from its first step.
    assert [place_in_chain([Member("", 0, 9)], step, 4) for step in range(9)] == [
        *(0, 1, 2, 3, 0, 1, 2, 3, 0)
    ]


def test_members_in_any_order_come_back() -> None:
    assert members_from_json(m.to_json() for m in RUNS[::-1]) == RUNS


@pytest.mark.parametrize(
    "members",
    [
        [],
        [Member("a", -1, 3)],
        [Member("a", 0, 3), Member("b", 2, 1)],
        [Member("a", 0, 3), Member("a", 3, 1)],
    ],
)
def test_members_that_cannot_be(members: list[Member]) -> None:
    with pytest.raises(ValueError, match="members are"):
        members_from_json(m.to_json() for m in members)


def test_what_two_know_is_merged() -> None:
    assert merged(RUNS[:1], RUNS[2:]) == [RUNS[0], RUNS[2]]
    grown = Member("c", 5, 9)
    assert merged(RUNS, [grown]) == merged([grown], RUNS) == [*RUNS[:2], grown]
    with pytest.raises(ValueError, match="members are"):
        merged(RUNS, [Member("d", 4, 3)])
