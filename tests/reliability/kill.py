"""Kills work at random moments: nothing that was finished is lost, and a second run goes on.

    .venv/bin/python tests/reliability/kill.py --trials 200 --seed 1

Each trial kills a process (SIGKILL) at a moment between its start and its usual end. Then every
finished step has to decode to its recorded figures; the same work, started again, has to keep
those files, and to end with what it gives without interruption, bit for bit.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from metainr_core.series import Series  # noqa: E402
from tests.reliability import children  # noqa: E402
from tests.reliability.jobs import (  # noqa: E402
    Job,
    cut,
    flow,
    leftovers,
    make_jobs,
    reset,
)


def main() -> int:
    options = parse()
    random.seed(options.seed)
    children.warm_up()
    series, other = read_series(options)
    jobs = make_jobs(series, other, options.epochs, options.rounds)
    jobs = [job for job in jobs if any(name in job.name for name in options.only)]
    with tempfile.TemporaryDirectory(prefix="metainr-kill-", dir=options.folder) as name:
        trials = [Uninterrupted(job, Path(name, str(i))) for i, job in enumerate(jobs)]
        for trial in range(options.trials):
            trials[trial % len(trials)].kill_once()
            if (trial + 1) % 20 == 0:
                print(f"{trial + 1} kills", file=sys.stderr, flush=True)
    return report(trials, ("kills", "left over", "kept", "wrong"))


def report(rows: Sequence[Uninterrupted], columns: Sequence[str]) -> int:
    """Prints what happened; the exit code."""
    counts = {row.job.name: row.counts for row in rows}
    counts["together"] = sum(counts.values(), Counter())
    print(" " * 28 + "".join(f"{column:>10}" for column in columns))
    for name, count in counts.items():
        print(f"{name:28}" + "".join(f"{count[column]:10}" for column in columns))
    return int(counts["together"]["wrong"] > 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--series", help="a real series, of which the middle is used (generated)")
    parser.add_argument("--size", type=int, default=32, help="voxels along each axis")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[""], help="work with this in its name")
    parser.add_argument("--folder", help="for the files (the system's for temporary ones)")
    return parser.parse_args()


def read_series(options: argparse.Namespace) -> tuple[Series, Series]:
    if not options.series:
        return flow(options.size, options.steps), flow(options.size, options.steps, 1.0)
    from metainr_core.series import ArraySeries, open_series

    real = cut(open_series(options.series), options.size, options.steps)
    flipped = [real.read(step)[::-1, ::-1] for step in range(len(real))]
    return real, ArraySeries(flipped, array=real.array, name=real.name)


class Uninterrupted:
    """A job, what it gives when nothing happens, and how it did when it was killed."""

    def __init__(self, job: Job, folder: Path):
        self.job, self.start, self.folder = job, folder / "start", folder / "work"
        self.counts: Counter[str] = Counter()
        self.between: Callable[[], None] = lambda: None  # what is cured before the second run
        self.start.mkdir(parents=True)
        children.run(job.prepare, self.start)
        for _ in range(2):  # the first is slower
            reset(self.folder, self.start)
            started = time.monotonic()
            children.run(job.run, self.folder)
            self.seconds = time.monotonic() - started
        self.expected = children.run(job.result, self.folder)[1]
        assert not leftovers(self.folder), leftovers(self.folder)

    def kill_once(self) -> None:
        ended = True
        while ended:  # before the moment came
            reset(self.folder, self.start)
            started, moment = time.monotonic(), random.uniform(0, self.seconds)
            ended, _ = children.run(self.job.run, self.folder, seconds=moment)
            self.seconds = min(self.seconds, time.monotonic() - started) if ended else self.seconds
        self.counts["kills"] += 1
        self.blame(self.go_on())

    def blame(self, problem: str) -> None:
        if problem:
            self.counts["wrong"] += 1
            print(f"{self.job.name}: {problem}", file=sys.stderr, flush=True)

    def go_on(self) -> str:
        """Checks what is there, does the rest, and says what is wrong with the result."""
        self.counts["left over"] += bool(leftovers(self.folder))
        try:
            kept = children.run(self.job.check, self.folder)[1]
            self.between()
            children.run(self.job.run, self.folder)
            after = children.run(self.job.check, self.folder)[1]
            result = children.run(self.job.result, self.folder)[1]
        except Exception as error:
            return str(error)
        self.counts["kept"] += len(kept)
        redone = [name for name, found in kept.items() if after.get(name) != found]
        if redone:
            return f"{', '.join(redone)}: done again"
        if result != self.expected:
            return f"{differences(result, self.expected)}: not as without interruption"
        return f"{leftovers(self.folder)} stay" if leftovers(self.folder) else ""


def differences(found: dict, expected: dict) -> str:
    return ", ".join(str(k) for k in {**found, **expected} if found.get(k) != expected.get(k))


if __name__ == "__main__":
    sys.exit(main())
