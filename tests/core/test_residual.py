"""Residuals keep the bound everywhere, for every decode within the slack, or say why not."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from metainr_core import residual
from metainr_core.errors import ArchiveError, SettingsError
from metainr_core.residual import compress, decompress, resample

SHAPES = st.tuples(*[st.integers(1, 13)] * 3, st.integers(1, 3))


def largest_error(original: np.ndarray, decoded: np.ndarray, found: np.ndarray) -> float:
    assert found.dtype == np.float32
    assert found.shape == original.shape
    total = decoded + found
    assert total.dtype == np.float32
    return float(np.abs(total.astype(np.float64) - original).max())


def pair(shape: tuple[int, ...], kind: str, noise: float, seed: int) -> tuple[np.ndarray, ...]:
    """An original and what a network may have made of it, about 1 in size."""
    rng = np.random.default_rng(seed)
    decoded = np.sin(np.arange(np.prod(shape)) / 7).reshape(shape)
    error = noise * rng.standard_normal(shape)
    if kind == "constant":
        decoded, error = np.ones(shape), np.full(shape, noise)
    elif kind == "spikes":
        error *= np.where(rng.random(shape) < 0.05, 1.0, 1e-4)
    elif kind == "smooth":
        error = noise * decoded
    return decoded + error, decoded


@settings(deadline=None, max_examples=300)
@given(
    SHAPES,
    st.sampled_from(["noise", "constant", "spikes", "smooth"]),
    st.floats(-30, 30),
    st.floats(-6, 1),
    st.floats(-6, 1),
    st.sampled_from([0.0, 1e-3, 0.3, 0.9]),
    st.integers(0, 1000),
)
def test_every_value_is_within_the_bound(
    shape: tuple[int, ...],
    kind: str,
    magnitude: float,
    noise: float,
    tight: float,
    loose: float,
    seed: int,
) -> None:
    unit, bound = 10.0**magnitude, 10.0 ** (magnitude + tight)
    original, decoded = (
        (unit * a).astype(np.float32) for a in pair(shape, kind, 10.0**noise, seed)
    )
    slack = loose * bound
    try:
        data = compress(original, decoded, bound, slack)
    except SettingsError:
        # Only where the bound is near to what float32 can hold.
        assert bound - slack < 2e-6 * max(np.abs(original).max(), np.abs(original - decoded).max())
        assume(False)
    found = decompress(data, shape)
    assert largest_error(original, decoded, found) <= bound
    rng = np.random.default_rng(seed)
    for change in (slack, -slack, slack * rng.uniform(-1, 1, shape)):
        wanted = decoded + np.float64(change)
        other = wanted.astype(np.float32)
        # Rounding must not move it farther than the slack.
        other = np.where(np.abs(other.astype(np.float64) - decoded) <= slack, other, decoded)
        assert largest_error(original, other, found) <= bound


@pytest.mark.parametrize("bound", [0.3, 1e-3, 1e-5])
def test_slabs_keep_the_bound_and_know_their_place(
    bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, decoded = (a.astype(np.float32) for a in pair((33, 20, 17, 2), "noise", 0.2, 0))
    whole = compress(original, decoded, bound)
    monkeypatch.setattr(residual, "_SLAB_VALUES", 4000)
    slabs = compress(original, decoded, bound)
    assert len(slabs) != len(whole)
    assert largest_error(original, decoded, decompress(slabs, original.shape)) <= bound


def test_a_bound_that_holds_already_costs_little() -> None:
    original, decoded = (a.astype(np.float32) for a in pair((40, 40, 40, 1), "noise", 1e-3, 0))
    assert len(compress(original, decoded, 0.1)) < 250


@pytest.mark.parametrize(("error", "limit"), [("noise", 1.02), ("smooth", 0.4)])
def test_coding_is_as_short_as_entropy_says(error: str, limit: float) -> None:
    original, decoded = (a.astype(np.float32) for a in pair((48, 48, 48, 1), error, 0.1, 0))
    data = compress(original, decoded, 0.01)
    whole = np.rint((original.astype(np.float64) - decoded) / 0.02)
    counts = np.unique(whole, return_counts=True)[1]
    entropy = -(counts * np.log2(counts / whole.size)).sum() / 8
    assert len(data) < limit * entropy + 500


def test_noise_of_many_steps_and_steep_slopes_is_coded_as_differences() -> None:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((3, 24)), 1)
    slopes = walk[0][:, None, None, None] + walk[1][:, None, None] + walk[2][:, None]
    original = (100 * slopes).astype(np.float32)
    decoded = np.zeros_like(original)
    data = compress(original, decoded, 0.5)
    assert data[residual._HEADER.size + 8] == 1
    assert largest_error(original, decoded, decompress(data, original.shape)) <= 0.5
    assert len(data) < original.size / 4


def test_an_exact_decode_is_stored() -> None:
    original = np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 4, 5, 1)
    data = compress(original, original, 1e-5)
    assert not decompress(data, original.shape).any()


@pytest.mark.parametrize(
    ("bound", "slack"), [(0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (1e-6, 0.0), (0.1, 0.1), (1, -1)]
)
def test_a_bound_too_small_is_refused(bound: float, slack: float) -> None:
    original = np.full((2, 3, 4, 1), 300, np.float32)
    with pytest.raises(
        SettingsError, match=r"(?i)the largest error .*; (allow|expected)"
    ) as caught:
        compress(original, original + 1, bound, slack)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residual, "_SLAB_VALUES", 4)
    original = np.ones((2, 2, 2, 1), np.float32)
    broken = original.copy()
    broken[1, 1, 1] = value
    for given_pair in ((broken, original), (original, broken)):
        with pytest.raises(SettingsError, match="expected finite"):
            compress(*given_pair, 0.1)


def example() -> tuple[bytes, tuple[int, ...]]:
    original, decoded = (a.astype(np.float32) for a in pair((6, 7, 8, 2), "noise", 0.3, 0))
    return compress(original, decoded, 1e-3), original.shape


def test_damage_is_found() -> None:
    data, shape = example()
    rng = np.random.default_rng(0)
    broken = [data[:n] for n in (0, 3, 27, 28, 40, len(data) - 1)] + [data + b"\0" * 4]
    for place in rng.integers(0, len(data), 200):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        broken.append(bytes(changed))
    for damaged in broken:
        with pytest.raises(ArchiveError, match="the residual") as caught:
            decompress(damaged, shape)
        assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=300)
@given(st.integers(4, 600), st.binary(min_size=1, max_size=40), st.booleans())
def test_damage_with_a_right_checksum_does_no_harm(place: int, new: bytes, cut: bool) -> None:
    data, shape = example()
    changed = data[4:place] + new + (b"" if cut else data[place + len(new) :])
    changed = struct.pack("<I", zlib.crc32(changed)) + changed
    message = ""
    try:
        assert decompress(changed, shape).shape == shape
    except ArchiveError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize(
    "shape", [(6, 7, 8, 1), (7, 6, 8, 2), (1 << 20, 1 << 20, 1 << 20, 1), (6,)]
)
def test_another_shape_is_refused_before_anything_is_allocated(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArchiveError, match=r"has dims \(6, 7, 8, 2\)"):
        decompress(example()[0], shape)


def positions(*axes: ArrayLike) -> list[np.ndarray]:
    return [np.asarray(a, np.float64) for a in axes]


def test_resample_gives_stored_bits_at_whole_positions() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 5, 6, 2)).astype(np.float32)
    values[0, 0, 0] = -0.0
    whole = resample(values, positions(range(6), range(5), range(4)))
    assert whole.tobytes() == values.tobytes()
    box = resample(values, positions([2, 3, 5], [0], [3, 1]))
    assert box.tobytes() == values[[3, 1]][:, :1][:, :, [2, 3, 5]].tobytes()
    # So also where other positions lie between.
    mixed = resample(values, positions([0, 0.5, 3, 4.9], [0, 1, 2.2], [0.1, 2]))
    np.testing.assert_array_equal(mixed[1, :2, ::2], values[2, :2, [0, 3]].swapaxes(0, 1))


def test_resample_is_linear_between() -> None:
    z, y = np.arange(4)[:, None, None], np.arange(5)[:, None]
    values = np.stack([2 * z + 3 * y, z * y], -1).astype(np.float32)
    found = resample(values, positions([0, 0], [0, 0.25, 3.5, 4], [0.75, 3]))
    assert found.shape == (2, 4, 2, 2)
    assert found.dtype == np.float32
    for i, at_z in enumerate([0.75, 3]):
        for j, at_y in enumerate([0, 0.25, 3.5, 4]):
            expected = [2 * at_z + 3 * at_y, at_z * at_y]
            np.testing.assert_allclose(found[i, j], [expected] * 2, rtol=1e-6)


def test_resample_leaves_its_input_alone() -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)
    before = values.copy()
    resample(values, positions([0.5], [0.5], [0.5]))
    np.testing.assert_array_equal(values, before)
