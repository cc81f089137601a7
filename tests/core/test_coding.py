"""Entropy coding: what goes in comes out, in few bytes, and damage is one kind of error."""

from __future__ import annotations

import contextlib
import hashlib
import math
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metainr_core import coding
from metainr_core.coding import compress, decompress, estimate
from metainr_core.errors import ArchiveError
from metainr_core.rounding import LARGEST

MODELS = 1 + coding._SHAPES * coding._WIDTHS


def around(size: int) -> st.SearchStrategy[int]:
    return st.integers(max(size - 2, 0), min(size + 2, LARGEST)).flatmap(
        lambda n: st.sampled_from([n, -n])
    )


# Where the number of plain bits changes, and anywhere.
NUMBERS = st.one_of(
    st.just(0),
    st.integers(-3, 3),
    st.integers(-LARGEST, LARGEST),
    st.integers(11, 22).flatmap(lambda bits: around(1 << bits)),
)


@st.composite
def groups(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    networks = draw(st.integers(1, 5))
    rows = []
    for _ in range(networks):
        row: list[int] = []
        for size in sizes:
            kind = draw(st.sampled_from([st.just(0), st.integers(-9, 9), NUMBERS]))
            row += draw(st.lists(kind, min_size=size, max_size=size))
        rows.append(row)
    steps = st.lists(st.integers(0, 255), min_size=len(sizes), max_size=len(sizes))
    codes = draw(st.lists(steps, min_size=networks, max_size=networks))
    return np.array(rows, np.int32), np.array(codes, np.uint8), sizes


@given(groups())
def test_what_goes_in_comes_out(case: tuple[np.ndarray, np.ndarray, list[int]]) -> None:
    numbers, codes, sizes = case
    kept = numbers.copy()
    found, steps = decompress(compress(numbers, codes, sizes), len(numbers), sizes)
    assert np.array_equal(numbers, kept)
    assert (found.dtype, steps.dtype) == (np.int32, np.uint8)
    assert np.array_equal(found, numbers)
    assert np.array_equal(steps, codes)


@pytest.mark.parametrize("number", [1, 4095, 4096, 8190, 8191, 8192, 1 << 20, LARGEST])
def test_every_size_of_number_can_be_coded(number: int) -> None:
    for numbers in ([number], [-number], [number, -number, 0], [1 - number]):
        row = np.array([numbers], np.int32)
        data = compress(row, np.zeros((1, 1), np.uint8), [len(numbers)])
        assert np.array_equal(decompress(data, 1, [len(numbers)])[0], row)


def test_many_networks() -> None:
    sizes = [48, 16, 256, 16, 16, 1]
    rng = np.random.default_rng(0)
    scales = np.repeat(rng.choice([0.01, 0.3, 4.0, 900.0, 3e5], (700, len(sizes))), sizes, axis=1)
    numbers = np.clip(np.round(rng.laplace(0, scales)), -LARGEST, LARGEST).astype(np.int32)
    codes = rng.integers(60, 120, (700, len(sizes))).astype(np.uint8)
    data = compress(numbers, codes, sizes)
    found, steps = decompress(data, 700, sizes)
    assert np.array_equal(found, numbers)
    assert np.array_equal(steps, codes)
    assert len(data) == pytest.approx(np.sum(estimate(numbers, sizes)), rel=0.02)


def test_zeros_take_next_to_nothing() -> None:
    numbers, codes = np.zeros((100, 5000), np.int32), np.full((100, 2), 90, np.uint8)
    assert len(compress(numbers, codes, [4000, 1000])) < 50


# Size


def ideal_bytes(numbers: np.ndarray, shape: str, scale: float) -> float:
    """By the distribution that the numbers were drawn from: nobody can do better."""

    def below(x: float) -> float:
        if shape == "gauss":
            return (1 + math.erf(x / scale / math.sqrt(2))) / 2
        half = math.exp(-abs(x) / scale) / 2
        return half if x < 0 else 1 - half

    values, counts = np.unique(-np.abs(numbers), return_counts=True)
    shares = [below(v + 0.5) - below(v - 0.5) for v in values.tolist()]
    return float(-(counts * np.log2(shares)).sum() / 8)


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 3.3, 20.0, 150.0, 700.0, 5e3, 1e5])
@pytest.mark.parametrize("shape", ["laplace", "gauss"])
def test_sizes_are_near_the_entropy(shape: str, scale: float) -> None:
    rng = np.random.default_rng(1)
    draw = rng.laplace if shape == "laplace" else rng.normal
    numbers = np.round(draw(0, scale, (1, 30_000))).astype(np.int32)
    size = len(compress(numbers, np.zeros((1, 1), np.uint8), [30_000]))
    ideal = ideal_bytes(numbers, shape, scale)
    assert 0.98 * ideal < size < 1.03 * ideal + 20
    assert size == pytest.approx(np.sum(estimate(numbers, [30_000])), rel=0.01, abs=20)


def test_a_tensor_that_is_narrow_does_not_pay_for_one_that_is_wide() -> None:
    rng = np.random.default_rng(2)
    narrow, wide = (np.round(rng.laplace(0, s, (1, 9000))).astype(np.int32) for s in (0.3, 500))
    codes = np.zeros((1, 2), np.uint8)
    apart = sum(len(compress(n, codes[:, :1], [9000])) for n in (narrow, wide))
    together = len(compress(np.hstack([narrow, wide]), codes, [9000, 9000]))
    assert together <= apart


# Damage

SIZES = [30, 5, 60, 3]


def message() -> tuple[bytes, np.ndarray]:
    """Integers by a rule, not by a generator that a library may change."""
    squares = np.arange(4 * 98, dtype=np.int64) ** 2 * 2_654_435_761 % (1 << 32)
    numbers = (squares % 23 - 11).astype(np.int32).reshape(4, 98)
    numbers[1, :30] *= 90_000
    numbers[2] = 0
    numbers[3, 35:95] //= 8
    codes = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    return compress(numbers, codes, SIZES), numbers


def attempt(data: bytes) -> None:
    """Other numbers may come out (digests tell), or an ArchiveError; nothing else."""
    with contextlib.suppress(ArchiveError):
        numbers, codes = decompress(data, 4, SIZES)
        assert numbers.shape == (4, 98)
        assert codes.shape == (4, 4)


def test_every_changed_bit_is_survived() -> None:
    data, _ = message()
    for place in range(8 * len(data)):
        bad = bytearray(data)
        bad[place // 8] ^= 1 << place % 8
        attempt(bytes(bad))


def test_cut_messages_are_survived() -> None:
    data, _ = message()
    for length in range(len(data)):
        attempt(data[:length])
    for length in (0, 3, 4, 10, 4 + struct.unpack_from("<I", data)[0] - 1, len(data) - 1):
        with pytest.raises(ArchiveError, match="coded weights are damaged"):
            decompress(data[:length], 4, SIZES)


@given(st.binary(max_size=80), st.binary(max_size=400).map(lambda b: b[: len(b) // 4 * 4]))
def test_nonsense_is_survived(side: bytes, words: bytes) -> None:
    attempt(side + words)
    # With steps and distributions that can be read.
    levels = [*side[:48], *[1] * (48 - len(side[:48]))]
    levels = [v % m for v, m in zip(levels, [256] * 16 + [MODELS] * 16 + [23] * 16, strict=True)]
    packed = zlib.compress(bytes(levels))
    attempt(struct.pack("<I", len(packed)) + packed + words)


@pytest.mark.parametrize(("place", "value"), [(16, MODELS), (31, 255), (32, 23), (47, 200)])
def test_distributions_that_do_not_exist_are_refused(place: int, value: int) -> None:
    side = bytearray([1] * 48)
    side[place] = value
    packed = zlib.compress(bytes(side))
    with pytest.raises(ArchiveError, match=f"damaged: distribution .*{value}"):
        decompress(struct.pack("<I", len(packed)) + packed, 4, SIZES)


@pytest.mark.parametrize("networks", [1, 3, 5, 4000])
def test_another_number_of_networks_is_refused(networks: int) -> None:
    with pytest.raises(ArchiveError, match="coded weights are damaged: expected"):
        decompress(message()[0], networks, SIZES)


def test_a_bomb_is_not_unpacked() -> None:
    packed = zlib.compress(bytes(300_000_000), 9)
    data = struct.pack("<I", len(packed)) + packed
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="expected 48 bytes of steps"):
            decompress(data, 4, SIZES)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


# The format


def test_probabilities_fall_and_add_up() -> None:
    for model in range(1, MODELS):
        one_side = coding._probabilities(model)
        assert (np.diff(one_side) <= 0).all()
        assert (one_side > 0).all()
        assert one_side[0] + 2 * one_side[1:].sum() == pytest.approx(1)
        assert len(one_side) <= coding._REACH + 1
    assert max(coding._reach(m) for m in range(1, MODELS)) == coding._REACH


def test_the_format_never_changes() -> None:
    """Files of format 3 are in the world: whatever fails here must be undone, or be a format 4."""
    tables = [coding._probabilities(model).astype("<f8").tobytes() for model in range(1, MODELS)]
    assert hashlib.sha256(b"".join(tables)).hexdigest() == TABLES
    data, numbers = message()
    side = data[: 4 + struct.unpack_from("<I", data)[0]]
    plain = zlib.decompress(side[4:])
    # How zlib packs differs between its versions; what it packs does not.
    words = data[len(side) :]
    assert hashlib.sha256(plain + words).hexdigest() == MESSAGE
    golden = bytes.fromhex(GOLDEN)
    assert np.array_equal(decompress(golden, 4, SIZES)[0], numbers)


TABLES = "cbe87732614e0db081a50a18e86883dd4a803d5e2ffd81c893bb1465a779c1c2"
MESSAGE = "af12c76a550e24ce98cb448d2779f70c622b499883d99058d14dc78716b0e85e"
GOLDEN = (
    "2c00000078da63105030700848286898b060c3810b0f3e44444484db44444432004178b8af2488e6604000007abf"
    "0b4130b52f486942ddba18ae815c1ab63cfcf5eac369ddc1fc7b4b5e46057033cf921d8461aaa159b2518aaa04f8"
    "3c8e1e85ee324cf6c581d428b4a3ab5165d9558fc2f934338e8ea228999b560409e9e3c829d588662efbbe4430a1"
    "f5541b66c2c998d4b6a29ee790ac24f28741932efb9f7e155a8948cf546cb5780a3c0bc845ef9413c8b3e1375497"
    "f2486efbb86dc51c3f2209e9e972be7c380c1e529863bd1c98dab93afb35cc26fad6a59c441fe6549173e0696acd"
    "eba9e3643edf134d22372dead0233c6a03795eed0d2593da0ba54d562b296dda4fc500c04f6d"
)
