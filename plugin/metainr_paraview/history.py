"""A prior as a table: the rounds of its training, and how it was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tables import add_field_text, add_field_value, fill_table

if TYPE_CHECKING:
    from metainr_core import Prior

PRIOR_ARRAY = "minr_prior"
COLUMNS = {"round": int, "loss_before": float, "loss_after": float, "seconds": float}


def fill_history(output: Any, prior: Prior, path: str) -> None:
    """One row per round.

    Field data: ``minr_prior`` (path), ``voxel_share`` (of the series' voxels that were read),
    ``array``, ``kind``, and every setting of network and training by its name.
    """
    fill_table(output, COLUMNS, prior.history)
    add_field_text(output, PRIOR_ARRAY, path)
    add_field_value(output, "voxel_share", prior.voxel_share)
    training = {k: v for k, v in prior.config.to_json().items() if k != "siren"}
    known = {"array": prior.array, "kind": prior.kind, **prior.siren_config.to_json(), **training}
    for name, value in known.items():
        if isinstance(value, str):
            add_field_text(output, name, value)
        else:
            add_field_value(output, name, value)
