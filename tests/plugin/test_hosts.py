"""The same on a server, on several MPI processes, and where torch is missing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vtkmodules")
from metainr_core.archive import Archive
from tests.hosts import pvserver

pytestmark = pytest.mark.skipif(not shutil.which("pvpython"), reason="ParaView is not installed")
needs_mpi = pytest.mark.skipif(
    not (shutil.which("mpiexec") and shutil.which("pvbatch")), reason="MPI is not installed"
)


@pytest.fixture
def arguments(lab: Any, encoded: Any, tmp_path: Path) -> list[str]:
    series = lab.write(tmp_path / "series", lab.waves())
    (tmp_path / "out").mkdir()
    settings = {
        "pretrain": lab.quick_pretrain, "encode": lab.quick_encode,
        "archive": encoded.GetArchiveFile(),
    }  # fmt: skip
    return [str(series), str(tmp_path / "out"), json.dumps(settings)]


def check(lab: Any, result: dict[str, Any], arguments: Sequence[str]) -> None:
    assert result["rounds"] == 3
    assert result["rows"] == 4
    assert result["points"] == 1920
    assert result["times"] == list(lab.times)
    values = lab.wave(lab.grid, 2.5)
    assert result["input_range"] == pytest.approx([values.min(), values.max()])
    assert result["message"] == ""
    assert (result["compared"], result["mapped"]) == (1, 4)
    decoded = Archive.open(json.loads(arguments[2])["archive"]).decode(0)
    assert result["reader_points"] == 1920
    assert result["reader_range"] == pytest.approx([decoded.min(), decoded.max()], abs=1e-5)
    assert Archive.open(Path(arguments[1]) / "run.minr").steps == [0, 1, 2, 3]


@pytest.fixture
def server(lab: Any, tmp_path: Path) -> Iterator[int]:
    """The port of a pvserver that serves one client."""
    with pvserver(tmp_path / "server.log", lab.environment()) as port:
        yield port


def test_client_and_server(lab: Any, server: int, arguments: list[str]) -> None:
    result = lab.drive("drive_hosts.py", *arguments, server)
    check(lab, result, arguments)
    assert not result["torch"], "the client computed"


@needs_mpi
def test_several_mpi_processes_decode_but_do_not_train(lab: Any, arguments: list[str]) -> None:
    environment = {
        **lab.environment(), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    host = ("mpiexec", "-n", "2", "pvbatch", "--sym")
    result = lab.drive("drive_hosts.py", *arguments, environment=environment, host=host)
    assert result["rounds"] == 0
    assert result["rows"] == 0
    lines = [x for x in result["output"].splitlines() if "this server has 2" in x]
    assert len(lines) == 4, "one line of each filter, from one process"
    assert not list(Path(arguments[1]).iterdir())
    assert 0 < result["reader_points"] < 1920, "the first process decodes its part"


def test_torch_missing(lab: Any, arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{lab.root}:{lab.root / 'plugin'}"}
    result = lab.drive("drive_hosts.py", *arguments, environment=environment)
    assert (result["rounds"], result["rows"], result["points"]) == (0, 0, 0)
    assert (result["compared"], result["mapped"]) == (0, 0)
    assert result["message"].startswith("ParaView's Python 3.")
    assert "cannot import torch" in result["message"]
    assert "metainr paraview" in result["message"]
    assert "Traceback" not in result["output"]
    for label in ("Pretrain", "Encode", "Decode", "Reader", "Compare", "Projection"):
        lines = [x for x in result["output"].splitlines() if f"ERROR: Meta-INR {label}:" in x]
        assert len(lines) == 1, result["output"]
