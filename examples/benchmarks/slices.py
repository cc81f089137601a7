"""What working in slices costs: Encode in ParaView's window, at once and in slices.

    python examples/benchmarks/slices.py SERIES.pvd ARRAY [--rounds 3]

Both from random weights, in one session, in turn. A window that waits for a filter that works at
once answers nobody; one that gets slices answers between them. Needs ParaView and Xvfb.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.gui.application import Application

PAUSE = 25  # seconds, in which the work in slices has to end

ENCODE = """
import time
from metainr_paraview import background
SetActiveSource(FindSource({series!r}))
encode = MetaINREncode(Input=GetActiveSource(), Scalars=["POINTS", {array!r}], Init="random")
encode.ArchiveFile = {archive!r}
"""
AT_ONCE = """
begun = time.perf_counter()
encode.UpdatePipeline()
result = time.perf_counter() - begun
Delete(encode)
"""
# The same, but with the window's question before it; each slice is noted.
IN_SLICES = """
algorithm = encode.GetClientSideObject()
algorithm.GetNeedsUpdate()
notes, run = [], background.LongFilter.RequestData

def noted(self, *arguments):
    begun = time.perf_counter()
    try:
        return run(self, *arguments)
    finally:
        notes.append((begun, time.perf_counter()))

background.LongFilter.RequestData = noted
background.notes, background.run = notes, run
Show(encode, GetActiveView())
"""
COLLECT = """
from metainr_paraview import background
background.LongFilter.RequestData = background.run
encode = GetActiveSource()
assert encode.GetClientSideObject()._work is None, "the pause is too short"
result = background.notes
Delete(encode)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("series", type=Path)
    parser.add_argument("array")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gui = Application(Path(folder))
        gui.open(options.series.resolve())
        gui.apply()
        gui.python("AssignViewToLayout(CreateView('SpreadSheetView'))")
        at_once: list[Callable[[], float]] = []
        in_slices: list[Callable[[], list[tuple[float, float]]]] = []
        for number in range(options.rounds + 1):  # the first one warms up
            names = {"series": options.series.name, "array": options.array}
            archive = f"{folder}/{number}.minr"
            at_once.append(gui.python(ENCODE.format(**names, archive=archive) + AT_ONCE))
            archive = f"{folder}/slices{number}.minr"
            gui.python(ENCODE.format(**names, archive=archive) + IN_SLICES)
            gui.pause(PAUSE)
            in_slices.append(gui.python(COLLECT))
        gui.run(3000)
    once = [f() for f in at_once[1:]]
    notes = [f() for f in in_slices[1:]]
    whole = [n[-1][1] - n[0][0] for n in notes]
    longest = max(end - begun for n in notes for begun, end in n)
    shares = [sum(e - b for b, e in n) / w for n, w in zip(notes, whole, strict=True)]
    times = sorted(w / o for w, o in zip(whole, once, strict=True))
    print(f"at once {statistics.median(once):.1f} s, in slices {statistics.median(whole):.1f} s:")
    print(f"{statistics.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f}) times as long")
    print(f"longest slice {longest:.2f} s, work's share {statistics.median(shares):.0%}")


if __name__ == "__main__":
    main()
