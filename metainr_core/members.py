"""The members of an ensemble: runs that share one array on one grid, and differ in parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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
        if not all(isinstance(v, (int, float, str)) for v in parameters.values()):
            raise ValueError(f"parameters are {parameters!r}")
        return cls(str(data["name"]), int(data["first"]), int(data["count"]), parameters)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
