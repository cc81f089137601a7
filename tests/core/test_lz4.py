"""LZ4 blocks: what VTK's compressor makes comes back, what is damaged is refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metainr_core.lz4 import decompress

_BYTES = st.one_of(
    st.binary(max_size=3000),
    st.builds(bytes.__mul__, st.binary(min_size=1, max_size=9), st.integers(1, 999)),
)


@given(data=_BYTES)
@example(data=bytes(100_000))
@example(data=np.arange(5000, dtype="<f4").tobytes())
def test_what_vtk_compresses_comes_back(data: bytes) -> None:
    compressor = pytest.importorskip("vtkmodules.vtkIOCore").vtkLZ4DataCompressor()
    packed = bytearray(2 * len(data) + 100)
    size = compressor.Compress(data, len(data), packed, len(packed))
    target = np.empty(len(data), np.uint8)
    decompress(bytes(packed[:size]), target)
    assert target.tobytes() == data


@given(data=st.binary(max_size=100), length=st.integers(0, 200))
@example(data=b"\xff" * 100, length=200)
@example(data=b"\x10a\x02\x00", length=5)  # back to before the beginning
@example(data=b"\x10a\x00\x00", length=5)  # back by nothing
@example(data=b"\xf0" + b"\xff" * 9, length=5)  # more than there is
def test_anything_else_is_refused(data: bytes, length: int) -> None:
    target = np.zeros(length + 8, np.uint8)
    with contextlib.suppress(ValueError):
        decompress(data, target[:length])
    assert not target[length:].any()


def test_a_block_of_another_length_is_refused() -> None:
    block = b"\x40abcd"
    target = np.empty(4, np.uint8)
    decompress(block, target)
    assert target.tobytes() == b"abcd"
    for length in (3, 5):
        with pytest.raises(ValueError, match="a block"):
            decompress(block, np.empty(length, np.uint8))
