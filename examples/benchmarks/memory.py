"""Peak memory of `metainr pretrain`, `encode` and `decode` against what is promised.

    python examples/benchmarks/memory.py [--sizes 128 256 384] [--scales 1 2] [--dtype f4]
                                         [--brick-size N] [--json FILE]

Writes smooth series of two steps as inline-binary .vti, runs the commands on them, each in a
process of its own, and prints a Markdown table. Sizes are in MB (10^6 bytes); a peak is the
largest resident set of the whole process, PyTorch and VTK included. The promises:

- pretrain, encode: 3 × one step as stored + 500 MB, however many steps there are,
- decode to .pvd: 1.5 × one decoded step + 300 MB.

Training is cut short; what it computes does not matter, and every size of an array is as in full
training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = "job", "size", "data MB", "peak MB", "limit MB", "within", "seconds"
PRETRAIN = ["--outer-steps", "2", "--inner-steps", "4", "--lambda-t", "1"]
ENCODE = ["--epochs", "1"]
STEPS = 2

# Runs in the measured process. VmHWM is the peak of this program alone; ru_maxrss, for systems
# without it, also counts the process that started it.
_CHILD = """
import re, resource, sys
from pathlib import Path
{body}
status = Path("/proc/self/status")
if status.exists():
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) * 1024
else:
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(peak)
"""
_COMMAND = "from metainr_core.cli import main\nif main(sys.argv[1:]): sys.exit(1)"


def peak_bytes(body: str, *arguments: object) -> int:
    """Peak resident set of a Python process that runs ``body`` with ``sys.argv[1:]``."""
    command = [sys.executable, "-c", _CHILD.format(body=body), *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(result.stdout.split()[-1])


def command_peak(*arguments: object) -> int:
    """Peak resident set of ``metainr`` with these arguments."""
    return peak_bytes(_COMMAND, *arguments)


def write_series(folder: Path, size: int, dtype: str = "f4", steps: int = STEPS) -> Path:
    """A `.pvd` of ``steps`` sums of sines on ``size``³ points, values -3 to 3 of ``dtype``."""
    from metainr_core import Grid
    from metainr_core.vti import make_image, write_image, write_pvd

    along = np.linspace(0, 6 * np.pi, size)
    names = [f"step_{size}_{step}.vti" for step in range(steps)]
    for step, name in enumerate(names):
        x, y, z = (np.sin((a + 1) * along / 2 + step).astype(dtype) for a in range(3))
        values = np.empty((size, size, size, 1), dtype)
        values[..., 0] = x
        values[..., 0] += y[:, None]
        values[..., 0] += z[:, None, None]
        write_image(make_image(values, Grid((size, size, size)), "waves"), folder / name)
    write_pvd(folder / f"{size}.pvd", names, [float(step) for step in range(steps)])
    return folder / f"{size}.pvd"


def baselines() -> Iterator[dict[str, Any]]:
    """What a process needs that only imports."""
    vtk = "from metainr_core.vtk_modules import quieten, vtk; quieten(); vtk('vtkIOXML')"
    jobs = {"import numpy": "import numpy", "import torch": "import torch", "torch and VTK": vtk}
    for job, body in jobs.items():
        yield {"job": job, "size": 0, "data_bytes": 0, "peak_bytes": peak_bytes(body)}


def measure(
    sizes: Sequence[int],
    folder: Path,
    *,
    scales: Sequence[float] = (1, 2),
    dtype: str = "f4",
    network: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """One row per command and size: ``job``, ``size``, ``data_bytes`` (one step, for decode one
    decoded step), ``peak_bytes``, ``limit_bytes``, ``within``, ``seconds``.

    ``folder`` takes the files. ``scales``: of decode. ``dtype``: of the series. ``network``:
    flags of the networks.
    """
    for size in sizes:
        series = write_series(folder, size, dtype)
        prior, archive = folder / f"{size}.safetensors", folder / f"{size}.minr"
        step = np.dtype(dtype).itemsize * size**3
        once = [series, "-o", prior, *PRETRAIN, *network]
        fit = [series, "-o", archive, "--prior", prior, *ENCODE]
        yield _row("pretrain", size, step, 3, 500e6, once)
        yield _row("encode", size, step, 3, 500e6, fit)
        for scale in scales:
            edge = round(scale * size)
            grown = [archive, "-o", folder / f"decoded_{edge}.pvd", "--scale", scale]
            yield _row("decode", edge, 4 * edge**3, 1.5, 300e6, grown)


def _row(
    job: str, size: int, data: int, factor: float, offset: float, arguments: Sequence[object]
) -> dict[str, Any]:
    started = time.perf_counter()
    peak, limit = command_peak(job, *arguments), factor * data + offset
    return {
        "job": job,
        "size": size,
        "data_bytes": data,
        "peak_bytes": peak,
        "limit_bytes": limit,
        "within": peak <= limit,
        "seconds": time.perf_counter() - started,
    }


def table_line(row: dict[str, Any]) -> str:
    def mb(name: str) -> str:
        return f"{row[name] / 1e6:.0f}" if row.get(name) else ""

    within = {True: "yes", False: "NO", None: ""}[row.get("within")]
    seconds = f"{row['seconds']:.0f}" if "seconds" in row else ""
    size = f"{row['size']}³" if row["size"] else ""
    cells = row["job"], size, mb("data_bytes"), mb("peak_bytes"), mb("limit_bytes"), within, seconds
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 2], help="of decode")
    parser.add_argument("--dtype", default="f4", help="of the series, as NumPy calls it")
    parser.add_argument("--brick-size", help="0: one network for the whole volume")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    network = ["--brick-size", options.brick_size] if options.brick_size else []
    rows = []
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            options.sizes,
            Path(folder),
            scales=options.scales,
            dtype=options.dtype,
            network=network,
        )
        for row in chain(baselines(), found):
            rows.append(row)
            print(table_line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
