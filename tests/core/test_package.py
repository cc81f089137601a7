"""What importing the package does, and does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import metainr_core


def run(code: str) -> str:
    root = Path(metainr_core.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_importing_everything_needs_no_vtk() -> None:
    names = [p.stem for p in Path(metainr_core.__file__).parent.glob("*.py")]
    imports = "; ".join(f"import metainr_core.{name}" for name in names if name != "__init__")
    code = f"import sys; {imports}; print(*sys.modules)"
    loaded = run(code).split()
    assert "torch" in loaded
    assert not [name for name in loaded if name.startswith(("vtk", "paraview"))]


def test_the_package_and_its_messages_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import metainr_core, metainr_core.config, metainr_core.grid, metainr_core.series\n"
        "print(metainr_core.Grid((1, 2, 3)).voxels, metainr_core.PretrainConfig().outer)"
    )
    assert run(code) == "6 reptile"


def test_every_public_name_is_there() -> None:
    for name in metainr_core.__all__:
        assert getattr(metainr_core, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = metainr_core.nonsense
