"""The sub-commands of ``metainr``: their flags, and what they do."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__, commands_compare, commands_project, commands_verify
from .errors import SettingsError
from .flags import (
    add_network_flags,
    add_series_flags,
    add_settings_flags,
    parse_steps,
    series_from,
    settings_from,
)
from .members import Member, described, find_member, names
from .report import archive_report, encoded, step_rows, warn_of_misses
from .series import Progress

if TYPE_CHECKING:
    from .archive import Archive


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as any other bad input: in one line."""

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, **keywords)
        # argparse takes -1e-3 and -2: for flags, which boxes and steps may well contain.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    from .config import EncodeConfig, PretrainConfig

    parser = _Parser(
        "metainr",
        description="Time-varying volumes as meta-learned SIREN weights.",
        epilog="metainr paraview | pvpython | pvbatch | pvserver … start ParaView with the plugin.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., dict[str, Any]], text: str) -> Any:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run, table=step_rows, resumes=False)
        made.add_argument(
            "--json",
            nargs="?",
            const="-",
            metavar="FILE",
            help="print the results as JSON, or write them to FILE",
        )
        return made

    made = command("pretrain", _pretrain, "Learn initial weights from a sparse sample of a series.")
    made.set_defaults(resumes=True)
    add_series_flags(made)
    made.add_argument("-o", "--output", required=True, metavar="PRIOR.safetensors")
    add_network_flags(made, PretrainConfig)
    add_settings_flags(made, PretrainConfig)

    made = command("encode", _encode, "Fit the time steps of a series and store their weights.")
    made.set_defaults(resumes=True)
    add_series_flags(made)
    made.add_argument("-o", "--output", required=True, metavar="RUN.minr")
    made.add_argument("--prior", metavar="PRIOR.safetensors")
    made.add_argument("--steps", help="which steps, as 0:10:2 or 3,5,8 (default: all)")
    made.add_argument(
        "--overwrite", action="store_true", help="replace an archive that holds another series"
    )
    add_network_flags(made, EncodeConfig)
    add_settings_flags(made, EncodeConfig)

    made = command("decode", _decode, "Write an archive's steps as .vti files and a .pvd.")
    made.set_defaults(resumes=True)
    made.add_argument("archive", metavar="RUN.minr")
    made.add_argument("-o", "--output", required=True, metavar="OUT.pvd")
    made.add_argument("--member", metavar="NAME", help="of an ensemble, which run (see info)")
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
    made.add_argument("--overwrite", action="store_true", help="replace what another decode wrote")

    made = command("compare", commands_compare.run, commands_compare.DESCRIPTION)
    made.set_defaults(table=commands_compare.rows_of)
    commands_compare.add_flags(made)

    made = command("project", commands_project.run, commands_project.DESCRIPTION)
    made.set_defaults(table=commands_project.rows_of)
    commands_project.add_flags(made)

    made = command("verify", commands_verify.run, commands_verify.DESCRIPTION)
    made.set_defaults(table=commands_verify.rows_of)
    commands_verify.add_flags(made)

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
    warn_of_misses(archive, steps)
    return archive_report(archive)


def _decode(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .archive import Archive
    from .export import export

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
    member = _chosen_member(archive, options.member)
    held = [step for step in archive.steps if step in member.steps]
    if not held:
        whose = f" of {described(member)}" if member.name else ""
        raise SettingsError(f"{archive.path} holds no step{whose} yet; encode one first")
    steps = parse_steps(options.steps, held[-1] + 1, member.first) or held
    for step in steps:
        if member.name and step not in member.steps:
            raise SettingsError(
                f"step {step} was asked for; {described(member)} has steps {member.first} to"
                f" {member.steps.stop - 1}"
            )
    export(
        archive,
        output,
        grid,
        steps,
        device=options.device,
        overwrite=options.overwrite,
        progress=progress,
    )
    return {
        "series": str(output),
        "dims": list(grid.dims),
        **({"member": member.name} if member.name else {}),
        "encoded": encoded(archive),
        "steps": steps,
        "times": [archive.record(s).time for s in steps],
    }


def _chosen_member(archive: Archive, name: str | None) -> Member:
    members = archive.members
    if name is not None:
        return find_member(members, name, archive.path)
    if len(members) > 1:
        raise SettingsError(
            f"{archive.path} has several members: {names(members)}; choose one with --member"
        )
    return members[0]


def _info(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .archive import Archive
    from .prior import Prior

    if options.file.endswith(".minr"):
        return archive_report(Archive.open(options.file), progress)
    if not options.file.endswith(".safetensors"):
        raise SettingsError(f"{options.file}: expected an archive (.minr) or prior (.safetensors)")
    metadata = Prior.load(options.file).metadata()
    del metadata["history"], metadata["outer_state"]
    return {"prior": options.file, **metadata}
