"""Locks on bytes of an open file, which end with their process, however that ends.

They are of the open file, not of the process (OFD locks): one thread's keep another's out. Other
operating systems than Linux, and some file systems, have none.
"""

from __future__ import annotations

import errno
import struct

try:
    import fcntl

    _SET = fcntl.F_OFD_SETLK
    _KINDS = {"exclusive": fcntl.F_WRLCK, "shared": fcntl.F_RDLCK, "none": fcntl.F_UNLCK}
except (ImportError, AttributeError):  # not Linux
    _KINDS = {}


def hold(handle: int, kind: str, byte: int = 0) -> bool | None:
    """Locks a byte of an open file: ``exclusive``, ``shared`` or, not any more, ``none``.

    False where a lock of another opening is in the way; None where files cannot be locked.
    """
    if not _KINDS:
        return None
    try:
        fcntl.fcntl(handle, _SET, struct.pack("hhqqi4x", _KINDS[kind], 0, byte, 1, 0))
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES) else None
    return True
