"""Command-line flags made from the settings' fields."""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import Any

from . import config as settings
from .config import EncodeConfig, SirenConfig
from .errors import SettingsError
from .layout import BITS, Stage, settings_with_network
from .series import Series, open_series

_CHOICES = {
    "sampling": ("random", "lattice"),
    "outer": ("reptile", "fomaml", "maml", "pooled"),
    "optimizer": settings.OPTIMIZERS,
    "schedule": ("cosine", "constant"),
    "selection": ("gradient", "all"),
    "init": ("meta", "pretrained", "random", "previous"),
    "weights": settings.WEIGHTS,
    "adapt": settings.ADAPT,
    "device": settings.DEVICES,
    "precision": settings.PRECISIONS,
}
# Flags of encode that say what the archive shall be, not how it gets there.
_GOALS = ("target_psnr", "target_ratio", "max_error", "weights", "coding_loss")
_HELP = {
    "sampling": "which voxels the prior is learned from",
    "lambda_s": "with lattice: keep one voxel in N along each axis",
    "lambda_t": "use every N-th time step; of short series first and last",
    "fraction": "with random: share of the series' voxels that is read",
    "outer": "outer update; pooled is plain training without inner loop",
    "outer_steps": "rounds of the outer loop",
    "inner_steps": "K, minibatches per task and round",
    "tasks": "tasks per round; 0 takes all",
    "batch_size": "voxels per network and minibatch",
    "optimizer": "muon: Muon on hidden matrices, Adam on the rest",
    "learning_rate": "rate of the fit (pretrain: of the inner loop)",
    "inner_floor": "share of the inner rate left at the end of the inner loop",
    "outer_learning_rate": "Adam's rate on the outer gradient; 0 moves to the tasks' mean",
    "weight_decay": "of Muon's matrices, as a share of a step",
    "init": "what a step starts from (default: the prior's kind, or random without one)",
    "epochs": "passes of a step, at most: each looks at as many voxels as there are",
    "schedule": "how the learning rate falls",
    "selection": "voxels of a pass: as many, but more where values change; or each once",
    "target_psnr": "stop a step at this PSNR over the series' range, in dB; coded weights take"
    " no more bytes than it needs",
    "weights": "how weights are stored: coded ones are rounded as coarsely as the quality allows,"
    " and entropy coded",
    "coding_loss": "dB of PSNR that rounding coded weights may cost: more makes smaller files",
    "target_ratio": "compression ratio of the whole archive: coded weights are rounded until it"
    " is reached; without --prior and --width it also picks the width",
    "max_error": "no decoded value differs by more than this from its original, in the data's"
    " units; what the networks miss is stored beside them",
    "adapt": "modulation: the hidden layers' matrices stay as the prior has them: tiny steps, some"
    " 10 dB worse, for ratios of several hundred",
    "key_interval": "with init previous: every N-th step starts from the prior, and takes"
    f" {settings.KEY_EPOCHS} times the passes",
    "device": "where to compute",
    "precision": "of the products in training",
    "seed": "of every random draw",
}


_PATHS = (
    "series", "reconstruction", "archive", "file", "output", "prior", "json", "png", "backbone",
)  # fmt: skip

# What the defaults that stand for no number mean.
_CHOSEN: dict[str, dict[Any, str]] = {
    "batch_size": {0: "0, which takes 8 times the width, or 128 with bricks"},
    "learning_rate": {
        0.0: "0, which takes 6e-4, 1e-3 with bricks or Adam, 3e-4 from the step before"
    },
    "weight_decay": {-1.0: "-1, which lets it grow with the length of the fit"},
    "target_psnr": {0.0: "0, none"},
    "target_ratio": {0.0: "0, none"},
    "max_error": {0.0: "0, no such promise"},
}


def add_series_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "series",
        metavar="SERIES",
        help=".pvd, quoted glob of .vti, folder with dataset.json, or an ensemble's data.csv",
    )
    parser.add_argument("--array", help="point or cell array (default: the only one)")
    parser.add_argument(
        "--ignore-nonfinite",
        action="store_true",
        help="replace NaN and infinities by the step's mean instead of refusing them",
    )


def expand_home(options: argparse.Namespace) -> None:
    """``~`` at the start of a path, which the shell leaves as it is in ``--json=~/x.json``."""
    for name in _PATHS:
        path = getattr(options, name, None)
        if path is not None:
            setattr(options, name, os.path.expanduser(path))


def series_from(options: argparse.Namespace) -> Series:
    return open_series(options.series, options.array, ignore_nonfinite=options.ignore_nonfinite)


def add_network_flags(parser: argparse.ArgumentParser, stage: type[Stage]) -> None:
    group = parser.add_argument_group("network", "chosen from the grid (or the preset) if left out")
    group.add_argument(
        "--brick-size",
        type=int,
        metavar="N",
        help="edge of a brick in voxels; 0: one network for the whole volume",
    )
    group.add_argument("--width", type=int, metavar="N")
    group.add_argument("--hidden-layers", type=int, metavar="N")
    group.add_argument("--omega-0", type=float, metavar="X")
    # Encode has it among its settings.
    if stage is not EncodeConfig:
        group.add_argument(
            "--target-ratio",
            type=float,
            metavar="X",
            help="compression ratio that picks the width: of the widest network that reaches it"
            f" with {BITS['coded']} bits per weight (paper: {BITS['float32']})",
        )


def add_settings_flags(parser: argparse.ArgumentParser, stage: type[Stage]) -> None:
    parser.add_argument("--preset", choices=settings.PRESETS, default="default")
    left_out = "what is left out comes from the preset"
    names = [f.name for f in dataclasses.fields(stage)]
    titles = ("size and quality", "training") if "weights" in names else ("training",)
    groups = [parser.add_argument_group(title, left_out) for title in titles]
    for field in dataclasses.fields(stage):
        if field.name == "siren":
            continue
        choices = _CHOICES.get(field.name)
        kind: dict[str, Any] = {"choices": choices}
        if choices is None:
            kind = {"type": type(field.default), "metavar": "N" if field.type == "int" else "X"}
        default = _CHOSEN.get(field.name, {}).get(field.default, field.default)
        text = f"{_HELP[field.name]} (default preset: {default})"
        if field.name == "init":
            text = _HELP["init"]
        group = groups[0] if field.name in _GOALS else groups[-1]
        group.add_argument("--" + field.name.replace("_", "-"), help=text, **kind)


def settings_from(
    options: argparse.Namespace, stage: type[Stage], series: Series, base: SirenConfig | None = None
) -> Stage:
    """Settings of a stage: explicit flags before the preset, network flags before ``base``."""
    names = [f.name for f in dataclasses.fields(stage) if f.name != "siren"]
    given = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    network = {
        n: getattr(options, n)
        for n in ("brick_size", "width", "hidden_layers", "omega_0", "target_ratio")
        if n not in names and getattr(options, n) is not None
    }
    return settings_with_network(
        stage, options.preset, given, network, series.grid, series.components, base
    )


def parse_steps(text: str | None, count: int, first: int = 0) -> list[int] | None:
    """``0:10:2`` (as a Python slice of first … count - 1), ``3,5,8``, or both joined by commas."""
    if text is None:
        return None
    steps: list[int] = []
    try:
        for part in text.split(","):
            if ":" in part:
                bounds = [int(p) if p.strip() else None for p in part.split(":")]
                piece = slice(*bounds)
                if piece.start is None and (piece.step or 1) > 0:
                    piece = slice(first, piece.stop, piece.step)
                steps += [step for step in range(count)[piece] if step >= first]
            else:
                steps.append(int(part))
    except (ValueError, TypeError) as error:
        raise SettingsError(f"--steps is {text!r}; expected 0:10:2 or 3,5,8") from error
    if not steps:
        raise SettingsError(f"--steps {text} names no step; there are {count - first}")
    return sorted(set(steps))
