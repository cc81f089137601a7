"""The ``metainr`` command: one sub-command per job."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from . import __version__
from .errors import Cancelled, MetaINRError, SettingsError
from .flags import (
    add_network_flags,
    add_series_flags,
    add_settings_flags,
    parse_steps,
    series_from,
    settings_from,
)
from .launch import PROGRAMS
from .series import Progress
from .vti import quieten


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0, 2 for bad input, 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments and arguments[0] in PROGRAMS:
            from .launch import main as launch

            return launch(arguments[0], arguments[1:])
        options = _parser().parse_args(arguments)
        quieten()
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        with _Bar() as progress:
            report = options.run(options, progress)
        _print_report(report, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough, as in `metainr info run.minr | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Cancelled as error:
        print(f"metainr: stopped: {error}", file=sys.stderr)
        return 130
    except MetaINRError as error:
        print(f"metainr: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        # PyTorch's error of a GPU without room is a RuntimeError, and not imported here.
        if not isinstance(error, MemoryError) and "out of memory" not in str(error):
            raise
        first = (str(error) or "of this machine").splitlines()[0]
        print(f"metainr: error: not enough memory: {first}", file=sys.stderr)
        return 2
    return 0


def _show_warning(message: Warning | str, *_: Any) -> None:
    """In one line, without the place in the code."""
    print(f"metainr: {message}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as any other bad input: in one line."""

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, **keywords)
        # argparse takes -1e-3 and -2: for flags, which boxes and steps may well contain.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    from .config import EncodeConfig, PretrainConfig

    parser = _Parser(
        "metainr",
        description="Time-varying volumes as meta-learned SIREN weights.",
        epilog="metainr paraview | pvpython | pvbatch [ARGS…] start ParaView with the plugin.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., dict[str, Any]], text: str) -> Any:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        made.add_argument(
            "--json",
            nargs="?",
            const="-",
            metavar="FILE",
            help="print the results as JSON, or write them to FILE",
        )
        return made

    made = command("pretrain", _pretrain, "Learn initial weights from a sparse sample of a series.")
    add_series_flags(made)
    made.add_argument("-o", "--output", required=True, metavar="PRIOR.safetensors")
    add_network_flags(made)
    add_settings_flags(made, PretrainConfig)

    made = command("encode", _encode, "Fit the time steps of a series and store their weights.")
    add_series_flags(made)
    made.add_argument("-o", "--output", required=True, metavar="RUN.minr")
    made.add_argument("--prior", metavar="PRIOR.safetensors")
    made.add_argument("--steps", help="which steps, as 0:10:2 or 3,5,8 (default: all)")
    made.add_argument(
        "--overwrite", action="store_true", help="replace an archive that holds another series"
    )
    add_network_flags(made)
    add_settings_flags(made, EncodeConfig)

    made = command("decode", _decode, "Write an archive's steps as .vti files and a .pvd.")
    made.add_argument("archive", metavar="RUN.minr")
    made.add_argument("-o", "--output", required=True, metavar="OUT.pvd")
    made.add_argument("--steps", help="which steps, as 0:10:2 or 3,5,8 (default: all)")
    size = made.add_mutually_exclusive_group()
    size.add_argument("--dims", nargs=3, type=int, metavar=("NX", "NY", "NZ"))
    size.add_argument("--scale", type=float, help="times as many values along each axis")
    made.add_argument(
        "--box",
        nargs=6,
        type=float,
        metavar=("X0", "X1", "Y0", "Y1", "Z0", "Z1"),
        help="only this part, in the data's units",
    )
    made.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    made.add_argument("--overwrite", action="store_true", help="replace files that are there")

    made = command("info", _info, "Say what an archive or a prior holds.")
    made.add_argument("file", metavar="RUN.minr|PRIOR.safetensors")
    return parser


def _pretrain(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .config import PretrainConfig
    from .pretraining import pretrain

    if not options.output.endswith(".safetensors"):
        raise SettingsError(f"{options.output}: a prior's name ends in .safetensors")
    series = series_from(options)
    config = settings_from(options, PretrainConfig, series)
    prior = pretrain(series, config, options.output, progress=progress)
    last = prior.history[-1]
    return {
        "prior": options.output,
        "kind": prior.kind,
        "network": prior.siren_config.to_json(),
        "voxel_share": prior.voxel_share,
        "rounds": len(prior.history),
        "loss_before": last["loss_before"],
        "loss_after": last["loss_after"],
        "seconds": last["seconds"],
    }


def _encode(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .config import EncodeConfig
    from .encoding import encode
    from .prior import Prior

    series = series_from(options)
    prior = Prior.load(options.prior) if options.prior else None
    if options.init is None:
        options.init = prior.kind if prior else "random"
    base = prior.siren_config if prior else None
    config = settings_from(options, EncodeConfig, series, base)
    steps = parse_steps(options.steps, len(series))
    archive = encode(
        series,
        options.output,
        prior=prior,
        config=config,
        steps=steps,
        overwrite=options.overwrite,
        progress=progress,
    )
    return archive_report(archive)


def _decode(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .archive import Archive
    from .storage import make_folder
    from .vti import make_image, write_image, write_pvd

    output = Path(options.output)
    if output.suffix != ".pvd":
        raise SettingsError(f"{output}: the output's name ends in .pvd")
    archive = Archive.open(options.archive)
    grid = archive.grid
    if options.box:
        grid = grid.cropped(options.box)
    if options.dims:
        grid = grid.resampled(options.dims)
    elif options.scale is not None:
        grid = grid.scaled(options.scale)
    chosen = parse_steps(options.steps, archive.steps[-1] + 1 if archive.steps else 0)
    steps = archive.steps if chosen is None else chosen
    times = [archive.record(s).time for s in steps]
    if not steps:
        raise SettingsError(f"{archive.path} holds no step yet; encode one first")
    folder = output.with_suffix("")
    names = [f"{folder.name}/step_{step:06d}.vti" for step in steps]
    there = [p for p in (output, *(output.parent / n for n in names)) if p.exists()]
    if there and not options.overwrite:
        # It may well be the series that the archive was made from.
        raise SettingsError(f"{there[0]} exists; choose another name, or pass --overwrite")
    make_folder(folder)
    for count, (step, name) in enumerate(zip(steps, names, strict=True)):
        progress(count / len(steps), f"step {step} ({count + 1}/{len(steps)})")
        image = make_image(archive.decode(step, grid, device=options.device), grid, archive.array)
        write_image(image, output.parent / name)
        del image  # before the next one is decoded
    write_pvd(output, names, times)
    return {
        "series": str(output),
        "dims": list(grid.dims),
        "encoded": encoded(archive),
        "steps": steps,
        "times": times,
    }


def _info(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .archive import Archive
    from .prior import Prior

    if options.file.endswith(".minr"):
        return archive_report(Archive.open(options.file))
    if not options.file.endswith(".safetensors"):
        raise SettingsError(f"{options.file}: expected an archive (.minr) or prior (.safetensors)")
    metadata = Prior.load(options.file).metadata()
    del metadata["history"], metadata["outer_state"]
    return {"prior": options.file, **metadata}


def encoded(archive: Any) -> str:
    """How much of the series the archive holds, and which files are gone."""
    text = f"{len(archive.steps)} of {archive.info.get('series_steps', '?')} steps"
    gone = ", ".join(map(str, archive.missing))
    return f"{text}; the files of {gone} are missing" if gone else text


def archive_report(archive: Any) -> dict[str, Any]:
    """What ``encode`` and ``info`` tell of an archive, JSON-able."""
    records = archive.records
    finite = [r.psnr_series for r in records if math.isfinite(r.psnr_series)]
    return {
        "archive": str(archive.path),
        "array": archive.array,
        "components": archive.components,
        "association": archive.grid.association,
        "dims": list(archive.grid.dims),
        "network": archive.header.siren.to_json(),
        "bricks": archive.layout.bricks,
        "encoded": encoded(archive),
        "mean_psnr_series": sum(finite) / len(finite) if finite else None,
        "bytes": archive.total_bytes,
        "ratio": archive.ratio,
        "steps": [r.to_json() for r in records],
    }


_COLUMNS = ("step", "time", "psnr", "psnr_series", "max_error", "ratio", "bytes", "seconds")


def _print_report(report: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json == "-":
        print(json.dumps(report, indent=1))
        return
    if options.json:
        from .storage import write_atomically

        write_atomically(Path(options.json), json.dumps(report, indent=1).encode())
    rows = report.get("steps", [])
    for name, value in report.items():
        if name != "steps":
            print(f"{name:18s}{_shown(value)}")
    if rows and isinstance(rows[0], dict):
        print(" ".join(f"{c:>11s}" for c in _COLUMNS))
        for row in rows:
            nothing = "-" if row["mean_squared_error"] else "exact"
            cells = (nothing if row[c] is None else _shown(row[c]) for c in _COLUMNS)
            print(" ".join(f"{cell:>11s}" for cell in cells))


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    return str(value)


class _Bar:
    """A progress bar on a terminal; Ctrl-C asks the work to stop where nothing is lost."""

    def __enter__(self) -> Progress:
        from tqdm import tqdm

        self.bar = tqdm(
            total=1.0,
            disable=not sys.stderr.isatty(),
            leave=False,
            bar_format="{percentage:3.0f}%|{bar:24}| {elapsed} {desc}",
        )
        self.interrupted = False
        self.before = signal.signal(signal.SIGINT, self._interrupt)
        return self._report

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.before)
        self.bar.close()

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        # A second Ctrl-C ends the program at once, as usual.
        signal.signal(signal.SIGINT, self.before)

    def _report(self, fraction: float, message: str) -> None:
        if self.interrupted:
            raise Cancelled("interrupted; what is finished is kept, run the same command again")
        self.bar.set_description_str(message, refresh=False)
        self.bar.update(fraction - self.bar.n)
