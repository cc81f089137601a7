"""Several processes encode into one archive at once, some are killed, and others read it.

    .venv/bin/python tests/reliability/sharing.py --rounds 25 --seed 1

In each round processes start at the same time, each with steps of its own choice. One may be
refused, in one line, because another is at a step that it wants; one is killed at any time. A
reader that opens the archive all the while has to find every step as it is recorded. A last encode
has to end with what one process alone gives, bit for bit.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from metainr_core.archive import Archive  # noqa: E402
from metainr_core.config import EncodeConfig, SirenConfig  # noqa: E402
from metainr_core.encoding import encode  # noqa: E402
from metainr_core.errors import MetaINRError  # noqa: E402
from tests.reliability import children  # noqa: E402
from tests.reliability.jobs import archive_found, archive_result, flow, leftovers  # noqa: E402

SERIES = flow(12, 8)
CONFIG = EncodeConfig(
    siren=SirenConfig(12, 1, 10.0), init="random", epochs=4, batch_size=256, precision="fp32",
    device="cpu",
)  # fmt: skip


def work(path: Path, steps: list[int]) -> None:
    warnings.simplefilter("ignore")  # that so few passes are not enough
    encode(SERIES, path, config=CONFIG, steps=steps)


def read(path: Path, done: Path) -> int:
    """How many times the archive was opened, and all of it decoded."""
    times = 0
    while not done.exists():
        if Archive.exists(path):
            times += bool(archive_found(path, [SERIES]))
        time.sleep(0.01)
    return times


def one_round(folder: Path, writers: int, counts: Counter[str]) -> None:
    path, done = folder / "run.minr", folder / "done"
    with ThreadPoolExecutor(writers + 1) as pool:
        reader = pool.submit(children.run, read, path, done)
        jobs: list[Future[tuple[bool, None]]] = []
        for number in range(writers):
            steps = sorted(random.sample(range(len(SERIES)), random.randint(1, 4)))
            seconds = None if number else random.uniform(0.05, 1.0)
            jobs.append(pool.submit(children.run, work, path, steps, seconds=seconds))
        for job in jobs:
            try:
                counts["finished" if job.result()[0] else "killed"] += 1
            except MetaINRError as error:
                if "by another process" not in str(error):
                    raise
                counts["refused"] += 1
        done.touch()
        counts["read"] += reader.result()[1]
    done.unlink()
    children.run(archive_found, path, [SERIES])
    children.run(work, path, list(range(len(SERIES))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    children.warm_up()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="metainr-sharing-") as name:
        alone = Path(name, "alone", "run.minr")
        children.run(work, alone, list(range(len(SERIES))))
        expected = children.run(archive_result, alone)[1]
        for number in range(options.rounds):
            folder = Path(name, str(number))
            folder.mkdir()
            try:
                one_round(folder, options.writers, counts)
                assert children.run(archive_result, folder / "run.minr")[1] == expected
                assert not leftovers(folder), leftovers(folder)
            except (AssertionError, MetaINRError, children.Failed) as error:
                counts["wrong"] += 1
                print(f"round {number}: {error}", file=sys.stderr)
    print(f"{options.rounds} rounds: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
