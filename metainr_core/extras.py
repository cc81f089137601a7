"""Packages that only comparison and projection need (the extra ``compare``)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MetaINRError


def extra(module: str, purpose: str) -> Any:
    """An optional module. Raises MetaINRError, with the cure, where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MetaINRError(
            f"{purpose} needs {module.split('.')[0]}, which this Python cannot import ({error});"
            " install it: pip install 'metainr[compare]'"
        ) from error
