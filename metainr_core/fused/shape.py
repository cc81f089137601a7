"""A network's shape, as the library takes it."""

from __future__ import annotations

import ctypes

from ..siren import Siren


class Shape(ctypes.Structure):
    _fields_ = (
        *((n, ctypes.c_int) for n in ("width", "hidden_layers", "components")),
        ("omega_0", ctypes.c_float),
    )

    @classmethod
    def of(cls, siren: Siren) -> Shape:
        width, components = siren.weights[-1].shape[1:]
        return cls(width, len(siren.weights) - 2, components, siren.omega_0)
