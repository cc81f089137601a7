"""VTK, whichever the host has, for files, isosurfaces and pictures.

The core imports it only inside functions: importing ``metainr_core`` does not. ParaView's Python,
Debian's ``python3-paraview`` and pip's ``vtk`` all bring the same ``vtkmodules``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MetaINRError


def vtk(module: str) -> Any:
    """The module ``vtkmodules.<module>``. Raises MetaINRError where there is no VTK."""
    try:
        return import_module("vtkmodules." + module)
    except ImportError as error:
        raise MetaINRError(
            f"this needs VTK, which this Python lacks ({error}); install it"
            " (pip install vtk), or use ParaView's Python (metainr pvpython)"
        ) from error


def quieten() -> None:
    """VTK's own messages no longer go to stderr; what matters of them comes as exceptions."""
    try:
        logger = vtk("vtkCommonCore").vtkLogger
    except MetaINRError:
        return
    logger.SetStderrVerbosity(logger.VERBOSITY_OFF)
