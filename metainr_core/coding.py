"""Entropy coding of rounded weights.

The weights of one tensor of one network are a *group*. Its numbers k (``rounding``) are coded by a
range coder with one of a hundred fixed distributions, the cheapest: two-sided geometric or
Gaussian of some width, or "all zero", which takes no bits. Of numbers too large for that the last
bits are stored as they are. What is stored for a group besides is three bytes, the code of its
step, the number of its distribution and the number of plain bits, and zlib packs those.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from constriction import stream

from .errors import ArchiveError
from .rounding import LARGEST

_SHAPES, _WIDTHS = 2, 60
_ZERO = 0
# Largest number that a distribution codes.
_REACH = (1 << 12) - 1
# Bytes for a group besides its numbers, packed, as a rule.
_SIDE = 2
# A distribution ends where less than this is left of it.
_TAIL = 2.0**-22
_LENGTH = struct.Struct("<I")
# Numbers that 32 bits may stand for: the narrowest distribution takes 0.022 bits for a 0.
_MOST_PER_WORD = 2048
# Numbers that are decoded at once.
_RUN = 1 << 17


def compress(numbers: np.ndarray, codes: np.ndarray, sizes: Sequence[int]) -> bytes:
    """Bytes for ``numbers`` ``(N, parameters)`` int32 and ``codes`` ``(N, tensors)`` uint8.

    ``sizes``: parameters of each tensor of a network, in their order. Numbers are within
    ``rounding.LARGEST`` of 0.
    """
    groups = _groups(numbers, sizes)
    plain = [_plain_bits(group) for group in groups]
    models = [_cheapest(g >> bits)[0] for g, bits in zip(groups, plain, strict=True)]
    side = zlib.compress(np.concatenate([codes.ravel(), models, plain]).astype("u1").tobytes(), 9)
    encoder = stream.queue.RangeEncoder()
    for model, bits, members in _kinds(np.array(models), np.array(plain)):
        together = np.concatenate([groups[i] for i in members]).astype(np.int32)
        encoder.encode((together >> bits) + _reach(model), _distribution(model))
        if bits:
            encoder.encode(together & ((1 << bits) - 1), stream.model.Uniform(1 << bits))
    return _LENGTH.pack(len(side)) + side + encoder.get_compressed().astype("<u4").tobytes()


def estimate(numbers: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """About how many bytes each network takes of what ``compress`` makes, ``(N,)`` float64."""
    bits = []
    for group in _groups(numbers, sizes):
        plain = _plain_bits(group)
        bits.append(_cheapest(group >> plain)[1] + plain * group.size + 8 * _SIDE)
    return np.reshape(bits, (len(numbers), len(sizes))).sum(1) / 8


def decompress(
    data: bytes | memoryview, networks: int, sizes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """``numbers`` and ``codes`` as they were given to ``compress``. Raises ArchiveError.

    What it needs besides these two is about 30 bytes for each group.
    """
    count = networks * len(sizes)
    try:
        (length,) = _LENGTH.unpack_from(data)
        start = _LENGTH.size + length
        side = np.frombuffer(_inflate(data[_LENGTH.size : start], 3 * count), np.uint8)
        codes, models, plain = side.reshape(3, count)
        if models.max() > _SHAPES * _WIDTHS or plain.max() > LARGEST.bit_length():
            raise ValueError(f"distribution {models.max()} with {plain.max()} plain bits")
        words = np.frombuffer(data[start:], "<u4")
        lengths = np.array(sizes)
        coded = np.count_nonzero((models != _ZERO).reshape(networks, -1), axis=0) @ lengths
        if coded > _MOST_PER_WORD * (words.size + 2):
            raise ValueError(f"{4 * words.size} bytes cannot hold {coded} numbers")
        decoder = stream.queue.RangeDecoder(words.astype(np.uint32))
        numbers = np.zeros(networks * sum(sizes), np.int32)
        for model, bits, members in _kinds(models, plain):
            network, tensor = np.divmod(members, len(sizes))
            starts = network * sum(sizes) + (np.cumsum(lengths) - lengths)[tensor]
            ends = np.cumsum(lengths[tensor])
            for places in _places(starts, ends):
                symbols = decoder.decode(_distribution(model), places.size)
                numbers[places] = (symbols - _reach(model)) << bits
            for places in _places(starts, ends) if bits else ():
                numbers[places] |= decoder.decode(stream.model.Uniform(1 << bits), places.size)
        numbers = numbers.reshape(networks, -1)
    except (struct.error, zlib.error, ValueError, AssertionError) as error:
        raise ArchiveError(f"coded weights are damaged: {error}") from error
    return numbers, codes.reshape(networks, -1)


def _places(starts: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of groups that begin at ``starts``, in runs; ``ends``: sums of their lengths."""
    for begin in range(0, int(ends[-1]), _RUN):
        end = min(begin + _RUN, int(ends[-1]))
        first, last = np.searchsorted(ends, [begin, end - 1], side="right")
        own = slice(first, last + 1)
        before = np.concatenate([ends[first - 1 : first] if first else [0], ends[first:last]])
        skipped = np.maximum(begin - before, 0)
        counts = np.minimum(ends[own], end) - before - skipped
        shift = starts[own] + skipped - (np.cumsum(counts) - counts)
        yield np.repeat(shift, counts) + np.arange(end - begin)


def _inflate(data: bytes | memoryview, size: int) -> bytes:
    """zlib's inverse, of exactly ``size`` bytes: no more are made."""
    stream = zlib.decompressobj()
    result = stream.decompress(data, size)
    if len(result) != size or not stream.eof:
        raise ValueError(f"expected {size} bytes of steps and distributions")
    return result


def _groups(numbers: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Views of ``numbers``, network by network, tensor by tensor."""
    ends = np.cumsum(sizes)[:-1]
    return [group for network in numbers for group in np.split(network, ends)]


def _kinds(models: np.ndarray, plain: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Each pair of a distribution that takes bits and plain bits, and the groups that have it."""
    kinds = plain.astype(np.uint16) * 256 + models.astype(np.uint16)
    order = np.argsort(kinds, kind="stable")
    every, first = np.unique(kinds[order], return_index=True)
    for kind, members in zip(every, np.split(order, first[1:]), strict=True):
        if kind % 256 != _ZERO:
            yield int(kind % 256), int(kind // 256), members


@cache
def _ratios(model: int) -> tuple[float, float]:
    """p(1) / p(0), and by what this falls from each k to the next."""
    shape, width = divmod(model - 1, _WIDTHS)
    quarters = (1.0, 1.1892071150027210, 1.4142135623730951, 1.6817928305074290)
    # Only operations that IEEE 754 defines to the last bit: encoder and decoder may run on
    # different machines.
    scale = quarters[width % 4] * 2.0 ** (width // 4) / 16
    if shape == 0:
        return scale / (1 + scale), 1.0
    gauss = 2 * scale * scale / (1 + 2 * scale * scale)
    return gauss, gauss * gauss


@cache
def _probabilities(model: int) -> np.ndarray:
    """p(0), p(1) … p(reach), relative to their sum over -reach … reach."""
    first, fall = _ratios(model)
    ratios = np.full(_REACH, fall)
    ratios[0] = first
    falling = np.multiply.accumulate(np.multiply.accumulate(ratios))
    reach = max(int(np.searchsorted(-falling, -_TAIL)), 1)
    one_side = np.concatenate([[1.0], falling[:reach]])
    return one_side / (2 * np.add.accumulate(one_side)[-1] - 1)


def _reach(model: int) -> int:
    """Largest k that the distribution can code."""
    return len(_probabilities(model)) - 1


@cache
def _distribution(model: int) -> stream.model.Categorical:
    one_side = _probabilities(model)
    both = np.concatenate([one_side[:0:-1], one_side])
    return stream.model.Categorical(both, perfect=False)


@cache
def _costs() -> np.ndarray:
    """Bits for |k| = 0 … _REACH by each distribution, ``(models, _REACH + 1)``."""
    table = np.full((1 + _SHAPES * _WIDTHS, _REACH + 1), np.inf, np.float32)
    table[_ZERO, 0] = 0
    for model in range(1, len(table)):
        one_side = _probabilities(model)
        # No symbol takes more than the range coder's precision.
        table[model, : len(one_side)] = -np.log2(np.maximum(one_side, 2.0**-24))
    return table


def _plain_bits(group: np.ndarray) -> int:
    """Last bits of the numbers that are stored as they are."""
    # Without them numbers are rounded down: -8191 becomes -4096, not -4095.
    return (max(int(np.abs(group).max()) - 1, 0) // _REACH).bit_length()


def _cheapest(group: np.ndarray) -> tuple[int, float]:
    """The distribution that codes these numbers in the fewest bits, and the bits."""
    sizes, counts = np.unique(np.abs(group), return_counts=True)
    bits = _costs()[:, sizes] @ counts.astype(np.float32)
    model = int(np.argmin(bits))
    return model, float(bits[model])
