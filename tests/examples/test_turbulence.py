"""The solver behind the quick start: known solutions, balances, and the files it writes."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import turbulence
from torch import Tensor
from turbulence import PeriodicFlow


def make_flow(size: int = 16, viscosity: float = 0.0) -> PeriodicFlow:
    return PeriodicFlow(size, viscosity, torch.float64)


def coordinates(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, y, z of the grid points, each (n, n, n) with axes (z, y, x)."""
    line = torch.arange(size, dtype=torch.float64) * turbulence.BOX / size
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return x, y, z


def test_taylor_green_decay_is_exact_in_the_plane() -> None:
    """The two-dimensional Taylor-Green vortex only decays, by exp(-2 nu t)."""
    flow = make_flow(viscosity=0.1)
    x, y, z = coordinates(flow.size)
    start = torch.stack([x.sin() * y.cos(), -x.cos() * y.sin(), torch.zeros_like(z)])
    end = flow.to_space(flow.advance(flow.to_waves(start), 1.5))
    torch.testing.assert_close(end, start * math.exp(-2 * 0.1 * 1.5))


def test_taylor_green_starts_as_taylor_and_green_computed() -> None:
    """Their first-order term (Proc. R. Soc. A 158 (1937) 499), with its pressure."""
    flow = make_flow()
    x, y, z = coordinates(flow.size)
    start = torch.stack([x.sin() * y.cos() * z.cos(), -x.cos() * y.sin() * z.cos(), 0 * z])
    expected = torch.stack(
        [
            -(2 * x).sin() * (2 * z).cos(),
            -(2 * y).sin() * (2 * z).cos(),
            ((2 * x).cos() + (2 * y).cos()) * (2 * z).sin(),
        ]
    )
    found = flow.to_space(flow.advection(flow.to_waves(start)))
    torch.testing.assert_close(found, expected / 8)
    velocity = flow.to_waves(start)
    assert flow.energy(velocity) == pytest.approx(1 / 8)
    assert flow.enstrophy(velocity) == pytest.approx(3 / 8)


def test_without_viscosity_energy_is_kept() -> None:
    flow = make_flow()
    start = flow.random_velocity(seed=1)
    end = flow.advance(start, 0.2)
    assert flow.energy(end) == pytest.approx(flow.energy(start), rel=1e-4)
    assert not torch.allclose(end, start)


def test_energy_decays_at_the_viscous_rate() -> None:
    """dE/dt = -2 nu enstrophy, by a centred difference."""
    flow = make_flow(viscosity=0.05)
    before = flow.advance(flow.random_velocity(seed=2), 0.3)
    middle = flow.advance(before, 1e-3)
    after = flow.advance(middle, 1e-3)
    rate = (flow.energy(after) - flow.energy(before)) / 2e-3
    assert rate == pytest.approx(-2 * 0.05 * flow.enstrophy(middle), rel=1e-4)


def test_the_flow_stays_free_of_divergence() -> None:
    flow = make_flow(viscosity=0.02)
    start = flow.random_velocity(seed=3)
    assert flow.energy(start) == pytest.approx(1.5)
    for velocity in (start, flow.advance(start, 0.5)):
        divergence = flow.to_space((flow.gradient * velocity).sum(0))
        assert float(divergence.abs().max()) < 1e-12


def test_the_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="size: got 15, expected an even number"):
        PeriodicFlow(15, 0.1)
    with pytest.raises(ValueError, match="steps: got 0"):
        next(turbulence.simulate(16, 0))
    with pytest.raises(ValueError, match="interval: got 0"):
        next(turbulence.simulate(16, 1, interval=0.0))


def test_moments_move_a_little_and_repeat_with_the_seed() -> None:
    first, second = turbulence.simulate(24, 2, seed=4)
    again = next(turbulence.simulate(24, 1, seed=4))
    assert torch.equal(first.vorticity, again.vorticity)
    assert first.energy > second.energy
    change = float((second.vorticity - first.vorticity).norm() / first.vorticity.norm())
    assert 0.05 < change < 0.15
    assert 0.5 * float((first.vorticity**2).mean()) == pytest.approx(first.enstrophy, rel=1e-4)


def test_the_files_are_readable(tmp_path: Path) -> None:
    pytest.importorskip("vtkmodules")
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    moments = [
        turbulence.Moment(time, 1.0, 1.0, torch.rand(4, 5, 6, generator=torch.Generator()))
        for time in (2.0, 2.25)
    ]
    pvd = turbulence.write_series(tmp_path / "new" / "folder", iter(moments))
    entries = ElementTree.parse(pvd).getroot().findall("./Collection/DataSet")
    assert [float(entry.get("timestep", "nan")) for entry in entries] == [2.0, 2.25]
    for entry, moment in zip(entries, moments, strict=True):
        path = pvd.parent / entry.get("file", "")
        assert 'format="binary"' in path.read_text()
        reader = vtkXMLImageDataReader()
        reader.SetFileName(str(path))
        reader.Update()
        image = reader.GetOutput()
        assert image.GetDimensions() == (6, 5, 4)
        assert image.GetSpacing() == pytest.approx([turbulence.BOX / n for n in (6, 5, 4)])
        values = vtk_to_numpy(image.GetPointData().GetArray(turbulence.ARRAY_NAME))
        assert values.dtype == "float32"
        assert (values.reshape(4, 5, 6) == moment.vorticity.numpy()).all()
