"""LZ4 blocks, decompressed; NumPy and Python bring no such thing.

The format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
"""

from __future__ import annotations

import numpy as np

_SHORTEST_MATCH = 4


def decompress(data: bytes, target: np.ndarray) -> None:
    """Fills ``target``, bytes, from one block. Raises ValueError unless it holds just as many.

    A sequence is a token (two lengths of four bits, 15: more follows), literal bytes, and a match:
    how far back to copy from, which may be less than what is copied. The last one has no match.
    """
    output = target.data
    place = done = 0
    try:
        while True:
            token = data[place]
            place += 1
            count = token >> 4
            if count == 15:
                count, place = _long(data, place, count)
            if place + count > len(data) or done + count > len(output):
                raise ValueError
            output[done : done + count] = data[place : place + count]
            place, done = place + count, done + count
            if place == len(data):
                break
            back = data[place] | data[place + 1] << 8
            place += 2
            count = token & 15
            if count == 15:
                count, place = _long(data, place, count)
            count += _SHORTEST_MATCH
            if not 0 < back <= done or done + count > len(output):
                raise ValueError
            while count > 0:
                # What has been copied is there to be copied again, twice as long each time.
                part = min(back, count)
                output[done : done + part] = output[done - back : done - back + part]
                done, count, back = done + part, count - part, back + part
    except (IndexError, ValueError):
        raise ValueError("a block is no LZ4 data") from None
    if done != len(output):
        raise ValueError(f"a block has {done} bytes; expected {len(output)}")


def _long(data: bytes, place: int, count: int) -> tuple[int, int]:
    """A length that goes on in the following bytes, and the place after them."""
    while True:
        more = data[place]
        place += 1
        count += more
        if more < 255:
            return count, place
