"""The members of an ensemble: runs that share one array on one grid, and differ in parameters."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from .errors import SettingsError


@dataclass(frozen=True)
class Member:
    """One run, and which steps of its series or archive it has: ``count`` from ``first`` on.

    ``parameters``: what the run was made with, by name: numbers or texts. A series that is no
    ensemble is one member without a name.
    """

    name: str
    first: int
    count: int
    parameters: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def steps(self) -> range:
        return range(self.first, self.first + self.count)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Member:
        """Raises one of ``errors.DAMAGE`` when ``data`` is no member."""
        parameters = {str(k): v for k, v in data["parameters"].items()}
        for value in parameters.values():
            if not (isinstance(value, str) or math.isfinite(value)):
                raise ValueError(f"parameters are {parameters!r}")
        first, count = int(data["first"]), int(data["count"])
        name = str(data["name"])
        "".join([name, *parameters]).encode()  # they can be shown
        if not (0 <= first < 2**31 and 0 <= count < 2**31):
            raise ValueError(f"members are wrong: {name!r} has {count} steps from {first} on")
        return cls(name, first, count, parameters)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def members_from_json(data: Iterable[Mapping[str, Any]]) -> list[Member]:
    """Members in the order of their steps.

    Raises one of ``errors.DAMAGE`` when one is none, or two share a step or a name.
    """
    members = sorted(map(Member.from_json, data), key=lambda m: m.first)
    apart = all(a.steps.stop <= b.first for a, b in pairwise(members))
    named = len({m.name for m in members}) == len(members)
    if not members or not apart or not named or members[0].first < 0:
        raise ValueError(f"members are {[(m.name, m.first, m.count) for m in members]}")
    return members


def merged(known: Sequence[Member], more: Sequence[Member]) -> list[Member]:
    """Two lists of one ensemble's members as one; a member that has grown has all its steps.

    Raises ValueError when they are not of one ensemble.
    """
    by_first = {m.first: m for m in known}
    for member in more:
        old = by_first.get(member.first, member)
        by_first[member.first] = max(old, member, key=lambda m: m.count)
    return members_from_json(m.to_json() for m in by_first.values())


def member_of(members: Sequence[Member], step: int) -> Member:
    """The member that a step belongs to; ``members`` in the order of their steps."""
    place = bisect_right(members, step, key=lambda m: m.first) - 1
    if place < 0 or step not in members[place].steps:
        raise SettingsError(f"step {step} is of no member: {names(members)}")
    return members[place]


def find_member(members: Sequence[Member], name: str, where: object) -> Member:
    """The member of that name. Raises SettingsError that says which there are."""
    for member in members:
        if member.name == name:
            return member
    if not is_ensemble(members):
        raise SettingsError(f"{where} is no ensemble; it has no member {name!r}: name none")
    raise SettingsError(f"{where} has no member {name!r}; its members: {names(members)}")


def is_ensemble(members: Sequence[Member]) -> bool:
    """Whether they are named: one nameless member is any other series."""
    return any(m.name for m in members)


def described(member: Member) -> str:
    """Name and parameters for a message."""
    texts = (
        f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in member.parameters.items()
    )
    inside = ", ".join(texts)
    if not member.name:
        return "no ensemble"
    return f'member "{member.name}"' + (f" ({inside})" if inside else "")


def names(members: Sequence[Member]) -> str:
    return ", ".join(f'"{m.name}"' for m in members)


def place_in_chain(members: Sequence[Member], step: int, interval: int) -> int:
    """How many steps a step comes after its key frame: every ``interval``-th of its member."""
    return (step - member_of(members, step).first) % interval
