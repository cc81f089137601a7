"""Lets every single write, fsync, rename, open … fail once, be cut short, or kill the process.

    .venv/bin/python tests/reliability/faults.py

For each kind of call and each n the n-th call in the work's folder goes wrong, until a run has
fewer calls. The work has to succeed, or to end with one line (MetaINRError); what was there stays,
and the same work, started again, has to end with what it gives without the fault. Needs a C
compiler, for a library that is loaded before the C library. ``--disk``: instead the disk is full,
or files may not grow, at every size.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from metainr_core.errors import MetaINRError  # noqa: E402
from tests.reliability import children  # noqa: E402
from tests.reliability.jobs import flow, leftovers, make_jobs, reset  # noqa: E402
from tests.reliability.kill import Uninterrupted, report  # noqa: E402

FAIL, FAIL_FROM_THEN_ON, SHORT_THEN_FAIL, SHORT_THEN_KILL, KILL_BEFORE, KILL_AFTER = range(6)
NAMES = ("fail", "fail from", "cut and fail", "cut and kill", "kill before", "kill after")
MOUNT = ("mount", "-t", "tmpfs", "-o")
FAULTS = {
    "write": (
        (FAIL, errno.EIO),
        (FAIL_FROM_THEN_ON, errno.ENOSPC),
        (SHORT_THEN_FAIL, errno.ENOSPC),
        (SHORT_THEN_KILL, 0),
        (KILL_AFTER, 0),
    ),
    "fsync": ((FAIL, errno.EIO), (FAIL_FROM_THEN_ON, errno.ENOSPC), (KILL_AFTER, 0)),
    "rename": ((FAIL, errno.EIO), (KILL_BEFORE, 0), (KILL_AFTER, 0)),
    "open": ((FAIL, errno.ENOSPC), (FAIL_FROM_THEN_ON, errno.EROFS), (KILL_AFTER, 0)),
    "read": ((FAIL, errno.EIO),),
    "unlink": ((FAIL, errno.EIO), (KILL_BEFORE, 0), (KILL_AFTER, 0)),
    "mkdir": ((FAIL, errno.ENOSPC), (KILL_AFTER, 0)),
}


class Faulty(Uninterrupted):
    """A job that meets faults."""

    def meet(self, what: str, fault: Callable[[], None]) -> bool:
        """Whether it came to its end in spite of it; what is wrong then is noted."""
        reset(self.folder, self.start)
        self.counts["faults"] += 1
        problem, ended = "", False
        try:
            ended = children.run(self._work, fault)[0]
            self.counts["survived" if ended else "killed"] += 1
        except MetaINRError as error:
            self.counts["refused"] += 1
            # What the message speaks of may stay.
            hidden = [name for name in leftovers(self.folder) if name not in str(error)]
            hidden = [] if "unlink" in what else hidden
            if hidden or "\n" in str(error):
                problem = f"{', '.join(hidden)} stay after: {error}"
        except children.Failed as error:
            problem = str(error)
        problem = problem or self.go_on()
        self.blame(problem and f"{what}: {problem}")
        return ended

    def _work(self, fault: Callable[[], None]) -> None:
        fault()
        self.job.run(self.folder)

    def calls(self, call: str) -> int:
        """How many there are without a fault."""
        reset(self.folder, self.start)

        def count() -> int:
            arm(self.folder, call, 1 << 30, FAIL, 0)
            self.job.run(self.folder)
            return library().fault_count()

        return children.run(count)[1]


def library() -> Any:
    return ctypes.CDLL(None)


def arm(folder: Path, call: str, n: int, mode: int, code: int) -> None:
    """See faults.c."""
    inside = os.fsencode(f"{folder}/")
    library().fault_arm(inside, call.encode(), ctypes.c_long(n), mode, code)


def every_call(job: Faulty, calls: Sequence[str]) -> None:
    for call in calls:
        for n in range(1, job.calls(call) + 1):
            for mode, code in FAULTS[call]:
                name = f"{NAMES[mode]} {call} {n} {os.strerror(code) if code else ''}"
                job.meet(name, partial(arm, job.folder, call, n, mode, code))


def every_size(job: Faulty) -> None:
    """Files may not grow beyond a size; then the disk is full at a size."""
    sizes = {p.stat().st_size for p in job.folder.rglob("*") if p.is_file()}
    for limit in sorted({size * k // 4 for size in sizes for k in range(4)}):
        job.meet(f"files of {limit} bytes at most", partial(limit_files, limit))
    disk = job.folder.with_name("disk")
    disk.mkdir()
    if subprocess.run([*MOUNT, "size=64m", "none", disk], capture_output=True).returncode:
        print("no disk can be mounted here", file=sys.stderr)
        return
    outside, job.folder = job.folder, disk / "work"
    job.between = partial(resize, disk, 1 << 26)
    try:
        reset(job.folder, job.start)
        found = os.statvfs(disk)
        used = (found.f_blocks - found.f_bfree) * found.f_bsize
        size = max(used, found.f_bsize)  # 0 would be without a limit
        while not job.meet(f"disk of {size} bytes", partial(resize, disk, size)):
            size += found.f_bsize
    finally:
        subprocess.run(["umount", disk], check=True)
        job.folder, job.between = outside, lambda: None


def resize(disk: Path, size: int) -> None:
    subprocess.run([*MOUNT, f"remount,size={size}", "none", disk], check=True)


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", nargs="*", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--disk", action="store_true", help="full disks instead of calls")
    parser.add_argument("--only", nargs="*", default=[""], help="work with this in its name")
    parser.add_argument("--folder", help="for the files (the system's for temporary ones)")
    options = parser.parse_args()
    if not options.disk and "METAINR_FAULTS" not in os.environ:
        return with_library()
    children.warm_up()
    jobs = make_jobs(flow(10, 3), flow(10, 3, 1.0), epochs=2, rounds=4)
    jobs = [job for job in jobs if any(name in job.name for name in options.only)]
    # A process of its own starts without the fault.
    chosen = [job for job in jobs if not job.name.startswith("metainr")]
    rows = []
    with tempfile.TemporaryDirectory(prefix="metainr-faults-", dir=options.folder) as name:
        for number, job in enumerate(chosen):
            rows.append(Faulty(job, Path(name, str(number))))
            if options.disk:
                every_size(rows[-1])
            else:
                every_call(rows[-1], options.calls)
            print(f"{job.name}: {dict(rows[-1].counts)}", file=sys.stderr, flush=True)
    return report(rows, ("faults", "survived", "refused", "killed", "kept", "wrong"))


def with_library() -> int:
    """Starts this again with the library in place."""
    with tempfile.TemporaryDirectory(prefix="metainr-faults-") as name:
        built = Path(name, "faults.so")
        source = Path(__file__).with_name("faults.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", built, source, "-ldl"], check=True)
        env = {**os.environ, "LD_PRELOAD": str(built), "METAINR_FAULTS": "1"}
        return subprocess.run([sys.executable, *sys.argv], env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
