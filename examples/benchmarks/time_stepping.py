"""How long the next time step of a decoded archive takes in ParaView, and what of it what takes.

    xvfb-run -a metainr pvpython examples/benchmarks/time_stepping.py RUN.minr… [--scale F]
        [--show surface contour volume] [--pause SECONDS] [--most STEPS] [--play]

Goes through the steps of each archive, each shown for the first time, without and with decoding
ahead, and prints a Markdown table of medians in ms per step, from the third step on:

- load: reading the weights, of this step or of the next one, and beginning with it,
- decode: waiting for the values; image: making VTK's image of them,
- draw: the rest, which is ParaView.

``--pause``: that a person looks at every step. ``--play``: ParaView's own animation, its total
alone; in its window too (``metainr paraview --script``, arguments in TIME_STEPPING).
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metainr_paraview.stepping import StepImages
from paraview import simple

from metainr_core import Archive, vti

PARTS = "load", "decode", "image"
spent = dict.fromkeys(PARTS, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--show", nargs="+", default=["surface"])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--most", type=int, default=20)
    parser.add_argument("--play", action="store_true")
    given = shlex.split(os.environ["TIME_STEPPING"]) if "TIME_STEPPING" in os.environ else None
    arguments = parser.parse_args(given)
    simple._DisableFirstRenderCameraReset()
    _measure(Archive, "load_step", "load")
    _measure(StepImages, "begin", "load")
    _measure(StepImages, "image", "decode")
    _measure(vti, "make_image", "image")
    begin = StepImages.begin
    print("| archive | shown | ahead | " + " | ".join(PARTS) + " | draw | total |")
    print("|---" * (5 + len(PARTS)) + "|")
    for path in arguments.archives:
        for shown in arguments.show:
            for ahead in (False, True):
                setattr(StepImages, "begin", begin if ahead else _nothing)  # noqa: B010
                rows = _times(path, shown, arguments)
                medians = [statistics.median(column) for column in zip(*rows, strict=True)]
                cells = [path.stem, shown, "yes" if ahead else "no", *(f"{m:.0f}" for m in medians)]
                print("| " + " | ".join(cells) + " |", flush=True)


def _nothing(*_: Any) -> None:
    """In place of what decodes ahead."""


def _measure(owner: Any, name: str, part: str) -> None:
    """Adds the seconds of each call to ``spent``, without those that other parts have in it."""
    original: Callable[..., Any] = getattr(owner, name)

    def measured(*arguments: Any, **named: Any) -> Any:
        started, others = time.perf_counter(), sum(spent.values())
        result = original(*arguments, **named)
        spent[part] += time.perf_counter() - started - (sum(spent.values()) - others)
        return result

    setattr(owner, name, measured)


def _played(scene: Any, steps: int) -> list[list[float]]:
    scene.PlayMode = "Snap To TimeSteps"
    started = time.perf_counter()
    scene.Play()
    return [[math.nan] * (len(PARTS) + 1) + [1000 * (time.perf_counter() - started) / steps]]


def _times(path: Path, shown: str, arguments: argparse.Namespace) -> list[list[float]]:
    """Milliseconds of every step: the parts, the rest, all together."""
    for source in simple.GetSources().values():
        simple.Delete(source)
    reader = simple.OpenDataFile(str(path))
    if arguments.scale != 1:
        reader.Resolution, reader.Scale = "scale", arguments.scale
    reader.UpdatePipeline()
    source = reader
    if shown == "contour":
        low, high = reader.PointData[0].GetRange()
        source = simple.Contour(Input=reader, Isosurfaces=[(low + high) / 2])
    view = simple.GetActiveViewOrCreate("RenderView")
    display = simple.Show(source, view)
    display.SetRepresentationType("Volume" if shown == "volume" else "Surface")
    if shown != "contour":
        simple.ColorBy(display, ("POINTS", reader.PointData[0].Name))
    simple.ResetCamera(view)
    scene = simple.GetAnimationScene()
    scene.UpdateAnimationUsingDataTimeSteps()
    times = list(reader.TimestepValues)[: arguments.most]
    simple.Render(view)
    if arguments.play:
        return _played(scene, len(times))
    rows = []
    for moment in times[1:]:
        spent.update(dict.fromkeys(PARTS, 0.0))
        started = time.perf_counter()
        scene.AnimationTime = moment
        simple.Render(view)
        total = time.perf_counter() - started
        rows.append([*spent.values(), total - sum(spent.values()), total])
        time.sleep(arguments.pause)
    return [[1000 * seconds for seconds in row] for row in rows[2:]]


if __name__ in ("__main__", "__vtkconsole__"):
    main()
    sys.stdout.flush()
