"""How many floating-point operations a method needs: multiply-adds count as two.

Only products with weights count, all layers, as if done in the plainest way: what an
implementation saves or adds is then seen in its rate.
"""

from __future__ import annotations

from metainr_core import SirenConfig
from metainr_core.optim import ITERATIONS


def weight_products(siren: SirenConfig, components: int = 1) -> int:
    """Multiply-adds of one network at one point."""
    width = siren.width
    return 3 * width + siren.hidden_layers * width**2 + width * components


def training(siren: SirenConfig, components: int = 1) -> int:
    """Operations per point: forward, and twice that backward."""
    return 6 * weight_products(siren, components)


def decoding(siren: SirenConfig, components: int = 1) -> int:
    """Operations per point."""
    return 2 * weight_products(siren, components)


def orthogonalizing(siren: SirenConfig) -> int:
    """Operations per network and minibatch of Muon's iteration, three products each time."""
    return 2 * 3 * ITERATIONS * siren.hidden_layers * siren.width**3
