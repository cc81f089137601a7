"""Meta-INR: time-varying volumes as SIREN weights, from meta-learned initial weights.

The method is that of arXiv 2502.09669. ``pretrain`` learns a prior from a sparse sample of a
series, ``encode`` fits it to each time step, ``Archive.decode`` evaluates the weights on a grid.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .archive import Archive as Archive
    from .config import EncodeConfig as EncodeConfig
    from .config import PretrainConfig as PretrainConfig
    from .config import SirenConfig as SirenConfig
    from .encoding import encode as encode
    from .errors import Cancelled as Cancelled
    from .errors import MetaINRError as MetaINRError
    from .grid import Grid as Grid
    from .layout import choose_siren as choose_siren
    from .pretraining import pretrain as pretrain
    from .prior import Prior as Prior
    from .records import StepRecord as StepRecord
    from .series import ArraySeries as ArraySeries
    from .series import Series as Series
    from .series import open_series as open_series

__version__ = "0.1.0"

_HOMES = {
    "Archive": "archive",
    "ArraySeries": "series",
    "Cancelled": "errors",
    "EncodeConfig": "config",
    "Grid": "grid",
    "MetaINRError": "errors",
    "PretrainConfig": "config",
    "Prior": "prior",
    "Series": "series",
    "SirenConfig": "config",
    "StepRecord": "records",
    "choose_siren": "layout",
    "encode": "encoding",
    "open_series": "series",
    "pretrain": "pretraining",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Looked up when used: PyTorch takes seconds to import, and ParaView's Python may lack it.
    if name in _HOMES:
        return getattr(import_module("." + _HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
