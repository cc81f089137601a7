"""The fused library against ``siren.forward`` and autograd, and how it is built."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metainr_core import fused
from metainr_core.config import SirenConfig
from metainr_core.errors import MetaINRWarning
from metainr_core.fused import build
from metainr_core.sampling import coordinates
from metainr_core.siren import Siren, forward, initialize, mean_squared_errors
from metainr_core.training import Samples, Trainer

CPU = torch.device("cpu")
needs_library = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
FORMATS = [torch.float32] + [torch.bfloat16] * fused.serves(CPU, torch.bfloat16)
# Relative to the largest gradient, or to the range of values.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def networks(count: int, width: int, layers: int, components: int) -> Siren:
    generator = torch.Generator().manual_seed(width)
    return initialize(SirenConfig(width, layers, 20.0), count, components, generator)


def gradients(siren: Siren, where: Tensor, values: Tensor) -> Tensor:
    """By autograd, ``(N, parameters)``."""
    leaves = [t.requires_grad_() for t in siren.clone().tensors]
    losses = mean_squared_errors(siren.with_tensors(leaves), where, values)
    return torch.cat([g.flatten(1) for g in torch.autograd.grad(losses.sum(), leaves)], 1)


@needs_library
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("width", "layers", "components", "batch"),
    [(16, 2, 1, 64), (64, 3, 1, 100), (20, 3, 2, 1), (17, 1, 3, 65), (1, 1, 1, 7), (100, 0, 2, 130)]
    + [(w, 1, 1, 10) for w in (31, 48, 80, 96, 112, 128, 144)],
)
def test_gradients_are_those_of_autograd(
    dtype: torch.dtype, width: int, layers: int, components: int, batch: int
) -> None:
    count, box = 3, (3, 7, 9)
    siren = networks(count, width, layers, components)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(count, 189, components, generator=generator)
    index = torch.randint(189, (1, 1, batch), generator=generator)
    where = coordinates(index[0], box)
    wanted = gradients(siren, where, values[:, index[0, 0]])
    # Adam's first moment after one step without memory is the gradient.
    weights = siren.flat()
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    losses = fused.fit(
        siren,
        weights,
        (first, second),
        fused.Settings(muon=False, beta_1=0.0, beta_2=0.0, momentum=0.0),
        values,
        None,
        box,
        index,
        torch.tensor([[0.0, 1.0, 0.0, 1.0]]),
        dtype,
    )
    tolerance = TOLERANCE[dtype]
    expected = mean_squared_errors(siren, where, values[:, index[0, 0]])
    torch.testing.assert_close(losses[0], expected, rtol=tolerance, atol=tolerance)
    for n in range(count):
        assert float((first - wanted)[n].abs().max()) < tolerance * float(wanted[n].abs().max())
    torch.testing.assert_close(second, first.square())
    assert torch.equal(weights, siren.flat()), "a step of size 0 changes nothing"


@needs_library
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("width", "layers", "components"), [(16, 2, 1), (20, 3, 2), (64, 1, 1), (7, 0, 4), (96, 4, 3)]
)
def test_values_are_those_of_forward(
    dtype: torch.dtype, width: int, layers: int, components: int
) -> None:
    siren = networks(4, width, layers, components)
    generator = torch.Generator().manual_seed(0)
    x, y, z = (torch.rand(3, n, generator=generator) * 2 - 1 for n in (13, 5, 21))
    chosen = [2, 0, 2]
    found = fused.evaluate(siren, torch.tensor(chosen), (x, y, z), dtype)
    assert found.shape == (3, 21, 5, 13, components)
    for tile, network in enumerate(chosen):
        grid = torch.meshgrid(z[tile], y[tile], x[tile], indexing="ij")
        where = torch.stack(grid[::-1], -1).reshape(1, -1, 3)
        own = siren.map(lambda t: t[network : network + 1])  # noqa: B023
        wanted = forward(own, where).view(21, 5, 13, components)
        error = float((found[tile] - wanted).abs().max())
        assert error < TOLERANCE[dtype] * float(wanted.max() - wanted.min())


@needs_library
def test_threads_change_nothing() -> None:
    siren = networks(5, 20, 2, 1)
    line = torch.linspace(-1, 1, 40).repeat(5, 1)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(fused.evaluate(siren, torch.arange(5), (line,) * 3, torch.float32))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and no library loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.library.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    build.library.cache_clear()


@needs_library
def test_it_is_compiled_once(nothing_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.library() is not None
    files = list((nothing_built / "metainr").iterdir())
    assert [f.suffix for f in files] == [".so"]
    assert files[0].stat().st_mode & 0o077 == 0
    build.library.cache_clear()

    def run(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(subprocess, "run", run)
    assert build.library() is not None


def test_without_a_compiler_pytorch_does_the_work(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.warns(MetaINRWarning, match=r"install g\+\+"):
        assert not fused.serves(CPU, torch.float32)


def test_a_compiler_that_fails_is_named(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "broken++"
    compiler.write_text("#!/bin/sh\necho 'fused.cpp:1: error: no such luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.warns(MetaINRWarning, match=r"broken\+\+ could not .*no such luck"):
        assert not fused.serves(CPU, torch.float32)
    assert not list((nothing_built / "metainr").iterdir())


def test_a_folder_that_others_can_write_to_is_not_trusted(nothing_built: Path) -> None:
    folder = nothing_built / "metainr"
    folder.mkdir()
    os.chmod(folder, 0o777)
    with pytest.warns(MetaINRWarning, match="mode 700"):
        assert not fused.serves(CPU, torch.float32)


@needs_library
@pytest.mark.parametrize("width", [8, 16, 20])
def test_a_network_that_diverges_does_not_touch_the_next(width: int) -> None:
    siren, box = networks(3, width, 2, 1), (4, 4, 4)
    values = torch.rand(3, 64, 1, generator=torch.Generator().manual_seed(0))
    broken = values.clone()
    broken[0] = torch.nan
    index = torch.arange(64).repeat(1, 3, 1)
    threads = torch.get_num_threads()
    results = []
    try:
        torch.set_num_threads(1)  # the same thread fits one after the other
        for wanted in (values, broken):
            trainer = Trainer(siren, Samples(wanted, box), "muon", torch.float32)
            trainer.run(index, [1e-3] * 3)
            results.append(trainer.weights)
    finally:
        torch.set_num_threads(threads)
    assert bool(results[1][0].isnan().any())
    assert torch.equal(results[0][1:], results[1][1:])


@needs_library
def test_a_library_that_cannot_be_loaded_is_built_again(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short, or made on another system with the same home folder."""
    load = ctypes.CDLL
    refused: list[str] = []

    def once(path: str) -> ctypes.CDLL:
        if not refused:
            refused.append(path)
            raise OSError("invalid ELF header")
        return load(path)

    monkeypatch.setattr(ctypes, "CDLL", once)
    assert build.library() is not None
    assert Path(refused[0]).stat().st_size > 10_000


def test_without_a_home_folder_pytorch_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    build.library.cache_clear()
    try:
        with pytest.warns(MetaINRWarning, match="XDG_CACHE_HOME"):
            assert not fused.serves(CPU, torch.float32)
    finally:
        build.library.cache_clear()
