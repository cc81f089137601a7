"""How many bytes a step may take, so that the whole archive reaches its ratio."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence, Set

from .archive import Archive
from .config import EncodeConfig
from .errors import SettingsError
from .layout import STEP_BYTES
from .members import Member, is_ensemble, member_of

# Of the index, besides its rows for the steps; of a step's description for every further component.
_INDEX_BYTES, _COMPONENT_BYTES = 1500, 120
# With a target ratio and init = previous: bytes of a key frame over those of another step.
_KEY_BYTES = 2


def budget(
    archive: Archive,
    config: EncodeConfig,
    members: Sequence[Member],
    steps: Set[int],
    step: int,
    place: int,
) -> float:
    """Bytes that a step's coded weights may take; infinite without a target ratio.

    ``steps``: all that will be in the archive; ``place``: how many steps this one comes after its
    key frame. Raises SettingsError when the descriptions alone take more.
    """
    if not config.target_ratio:
        return math.inf
    volume = 4 * archive.grid.voxels * archive.components
    shared = _INDEX_BYTES + archive.prior_bytes
    more = _COMPONENT_BYTES * (archive.components - 1)
    if is_ensemble(members):
        # The index names all members, a step's file its own.
        shared += sum(map(_described_bytes, members))
        more += _described_bytes(member_of(members, step))
    described = STEP_BYTES + more + shared / len(steps)
    result = volume / config.target_ratio - described
    if result <= 0:
        raise SettingsError(
            f"target_ratio {config.target_ratio:g} leaves no bytes for weights: the"
            f" descriptions alone give a ratio of {volume / described:.0f}; ask for less"
        )
    if config.init == "previous":
        # All steps up to the next key frame build on this one.
        end = member_of(members, step).steps.stop
        chain = range(step - place, min(step - place + config.key_interval, end))
        count = len(steps & set(chain))
        result *= (1 if place else _KEY_BYTES) * count / (count - 1 + _KEY_BYTES)
    return result


def _described_bytes(member: Member) -> int:
    """Of its description in the index, and about as many packed into a step's file."""
    return len(json.dumps(member.to_json()))
