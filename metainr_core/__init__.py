"""Meta-INR: time-varying volumes as SIREN weights, from meta-learned initial weights.

The method is that of arXiv 2502.09669. ``pretrain`` learns a prior from a sparse sample of a
series, ``encode`` fits it to each time step, ``Archive.decode`` evaluates the weights on a grid.
"""

from .archive import Archive, StepRecord
from .config import EncodeConfig, PretrainConfig, SirenConfig
from .encode import encode
from .errors import Cancelled, MetaINRError
from .grid import Grid
from .layout import choose_siren
from .pretrain import pretrain
from .prior import Prior
from .series import ArraySeries, Series, open_series

__version__ = "0.1.0"

__all__ = [
    "Archive",
    "ArraySeries",
    "Cancelled",
    "EncodeConfig",
    "Grid",
    "MetaINRError",
    "PretrainConfig",
    "Prior",
    "Series",
    "SirenConfig",
    "StepRecord",
    "choose_siren",
    "encode",
    "open_series",
    "pretrain",
]
