"""Settings of the three stages: frozen, checked when built, stored in what they produced.

The fields' names are also the command line's flags (with dashes) and, in CamelCase, the
properties of the ParaView filters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeVar

from .errors import SettingsError

PRESETS = ("default", "paper")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
OPTIMIZERS = ("adam", "muon")
WEIGHTS = ("coded", "float16", "float32")
ADAPT = ("all", "modulation")

Config = TypeVar("Config", bound="_Config")


def _require(ok: bool, name: str, value: object, expected: str) -> None:
    if not ok:
        raise SettingsError(f"{name} is {value!r}; expected {expected}")


def _one_of(name: str, value: str, choices: Collection[str]) -> None:
    _require(value in choices, name, value, "one of " + ", ".join(choices))


def _finite_positive(name: str, value: float) -> None:
    _require(math.isfinite(value) and value > 0, name, value, "a finite number above 0")


class _Config:
    """What all settings share: a round trip through JSON that refuses unknown fields."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls: type[Config], data: Mapping[str, Any]) -> Config:
        fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(data) - set(fields))
        if unknown:
            raise SettingsError(f"unknown {cls.__name__} field {unknown[0]!r}; a newer file?")
        try:
            return cls(**data)
        except TypeError as error:
            raise SettingsError(f"{cls.__name__} cannot be read: {error}") from error

    def _check_types(self) -> None:
        """Numbers become plain ``int`` and ``float``; raises SettingsError on anything else."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.type == "int":
                whole = isinstance(value, Integral) and not isinstance(value, bool)
                _require(whole, field.name, value, "a whole number")
                object.__setattr__(self, field.name, int(value))
            elif field.type == "float":
                real = isinstance(value, Real) and not isinstance(value, bool)
                _require(real, field.name, value, "a number")
                object.__setattr__(self, field.name, float(value))
            elif field.type == "str":
                _require(isinstance(value, str), field.name, value, "a word")


@dataclass(frozen=True)
class SirenConfig(_Config):
    """Shape of one network and the bricks it is used for.

    ``brick_size``: edge of a brick in voxels, 0 for one network over the whole volume.
    ``hidden_layers``: products of width × width; the network is 3-width-width×hidden_layers-C.
    ``omega_0``: frequency of the sine (Sitzmann et al. 2020). ``first_scale``: range of the
    first layer's random weights, relative to theirs; 0 takes it from the grid
    (``siren.first_ranges``).
    """

    width: int = 64
    hidden_layers: int = 3
    omega_0: float = 30.0
    first_scale: float = 0.0
    brick_size: int = 0

    def __post_init__(self) -> None:
        self._check_types()
        _require(1 <= self.width <= 4096, "width", self.width, "1 to 4096")
        _require(0 <= self.hidden_layers <= 32, "hidden_layers", self.hidden_layers, "0 to 32")
        _finite_positive("omega_0", self.omega_0)
        first = self.first_scale
        _require(
            0 <= first < math.inf, "first_scale", first, "0 (from the grid) or a finite number"
        )
        size = self.brick_size
        _require(size == 0 or size >= 4, "brick_size", size, "0 (whole volume) or at least 4")

    def parameters(self, components: int) -> int:
        """Weights and biases of one network with ``components`` outputs."""
        width = self.width
        return 4 * width + self.hidden_layers * width * (width + 1) + (width + 1) * components


@dataclass(frozen=True)
class PretrainConfig(_Config):
    """How the prior is learned.

    ``siren``: the network; None chooses it from the grid (``layout.choose_siren``).
    ``sampling``: ``random`` reads a fixed random ``fraction`` of the series' voxels, spread
    evenly over every ``lambda_t``-th time step; ``lattice`` reads every ``lambda_s``-th voxel per
    axis of those steps. ``outer``: ``reptile``, ``fomaml``, ``maml``, or ``pooled`` (plain training
    on the same voxels, no inner loop: the *pretrained* baseline). ``outer_steps`` rounds of
    ``tasks`` tasks each (0: all tasks), ``inner_steps`` minibatches of ``batch_size`` voxels per
    task (with ``lattice``: passes over the task's voxels, as in the published code).
    ``learning_rate`` is the inner rate, falling along a cosine to ``inner_floor`` of itself;
    ``weight_decay`` is Muon's (``optim.Descent``).
    ``outer_learning_rate``: Adam's rate on the outer gradient; 0 moves the weights toward the
    tasks' mean by a factor that falls from 1 to 0 over the rounds (Reptile only).
    """

    siren: SirenConfig | None = None
    sampling: str = "random"
    lambda_s: int = 4
    lambda_t: int = 4
    fraction: float = 1 / 128
    outer: str = "reptile"
    outer_steps: int = 60
    inner_steps: int = 64
    tasks: int = 8
    batch_size: int = 512
    optimizer: str = "muon"
    learning_rate: float = 2e-3
    inner_floor: float = 0.1
    weight_decay: float = 1.0
    outer_learning_rate: float = 0.0
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.siren, Mapping):
            object.__setattr__(self, "siren", SirenConfig.from_json(self.siren))
        self._check_types()
        _one_of("sampling", self.sampling, ("random", "lattice"))
        _one_of("outer", self.outer, ("reptile", "fomaml", "maml", "pooled"))
        for name in ("lambda_s", "lambda_t", "outer_steps", "inner_steps", "batch_size"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.tasks >= 0, "tasks", self.tasks, "0 (all) or more")
        _require(0 < self.fraction <= 1, "fraction", self.fraction, "above 0, up to 1")
        _require(0 <= self.inner_floor <= 1, "inner_floor", self.inner_floor, "0 to 1")
        decay = self.weight_decay
        _require(math.isfinite(decay) and decay >= 0, "weight_decay", decay, "at least 0")
        rate = self.outer_learning_rate
        _require(math.isfinite(rate) and rate >= 0, "outer_learning_rate", rate, "0 or more")
        _require(
            rate > 0 or self.outer in ("reptile", "pooled"),
            "outer_learning_rate",
            rate,
            f"above 0, which outer={self.outer} needs",
        )
        _finite_positive("learning_rate", self.learning_rate)
        _check_common(self)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> PretrainConfig:
        """The settings called ``default`` or ``paper``, with ``changes`` to single fields."""
        return cls(**{**_preset(_PRETRAIN_PRESETS, name), **changes})


# With init = previous: passes of a key frame, which a whole run of steps builds on, and the
# learning rate between key frames (examples/benchmarks/RESULTS.md).
KEY_EPOCHS = 4
WARM_RATE = 3e-4
MODULATION_RATE = 3e-3


@dataclass(frozen=True)
class EncodeConfig(_Config):
    """How a time step is fitted.

    ``siren``: the network when there is no prior; None chooses it from the grid. ``epochs``
    passes over the voxels in minibatches of ``batch_size`` voxels per network, at
    ``learning_rate`` falling to 0 along a cosine (``schedule``); 0 takes for both what was measured
    to be best (``resolved``). ``weight_decay`` is Muon's; -1 lets it grow with the length of the
    fit. ``selection``: a pass of ``gradient`` draws as many voxels as there are, more often where
    the values change (``sampling.gradient_shares``); ``all`` takes every voxel once.
    ``target_psnr``: stop when the PSNR over the series' range reaches this many dB (0: never);
    the passes are then spent in rounds of 1, 1, 2, 4 … each with its own decay. ``weights``: how
    they are stored; ``coded`` ones are rounded so coarsely that it costs about ``coding_loss`` dB
    of PSNR, or so much more that the archive reaches ``target_ratio`` (0: none), and entropy
    coded. ``max_error``: no decoded voxel is further from its original, in the data's units; what
    the networks miss is stored beside them (0: no such promise). ``adapt``: ``modulation`` fits
    only first and last layers and biases, and leaves the hidden matrices as the prior has them.
    ``init``: ``meta`` or ``pretrained`` start from a prior of that kind, ``random`` from
    none, ``previous`` from the step before, except that every ``key_interval``-th step, a key
    frame, starts from the
    prior (or from random weights) and takes ``KEY_EPOCHS`` times the passes.
    """

    siren: SirenConfig | None = None
    init: str = "meta"
    epochs: int = 4
    batch_size: int = 0
    optimizer: str = "muon"
    learning_rate: float = 0.0
    weight_decay: float = -1.0
    schedule: str = "cosine"
    selection: str = "gradient"
    target_psnr: float = 0.0
    weights: str = "coded"
    coding_loss: float = 0.1
    target_ratio: float = 0.0
    max_error: float = 0.0
    adapt: str = "all"
    key_interval: int = 8
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.siren, Mapping):
            object.__setattr__(self, "siren", SirenConfig.from_json(self.siren))
        self._check_types()
        _one_of("init", self.init, ("meta", "pretrained", "random", "previous"))
        _one_of("schedule", self.schedule, ("cosine", "constant"))
        _one_of("selection", self.selection, ("gradient", "all"))
        _one_of("weights", self.weights, WEIGHTS)
        _one_of("adapt", self.adapt, ADAPT)
        for name in ("epochs", "key_interval"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.batch_size >= 0, "batch_size", self.batch_size, "0 (chosen) or more")
        rate = self.learning_rate
        _require(0 <= rate < math.inf, "learning_rate", rate, "0 (chosen) or a finite number above")
        decay = self.weight_decay
        _require(decay == -1 or decay >= 0, "weight_decay", decay, "-1 (chosen) or at least 0")
        target = self.target_psnr
        _require(math.isfinite(target) and target >= 0, "target_psnr", target, "0 (none) or more")
        for name in ("target_ratio", "max_error"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "0 (none) or more")
        _require(
            not (self.target_ratio and self.max_error),
            "max_error",
            self.max_error,
            f"0, as target_ratio is {self.target_ratio:g}: one of them decides the size",
        )
        loss = self.coding_loss
        _require(0 < loss <= 20, "coding_loss", loss, "above 0, up to 20 dB")
        _check_common(self)

    def resolved(self, bricks: int, width: int, *, warm: bool = False) -> EncodeConfig:
        """With batch size and learning rate chosen for networks of this width and number.

        A minibatch of one network grows with its width, as the optimizer's share of the work
        does. ``warm``: for a start from the neighbouring step, which is near its goal.
        """
        batch_size = self.batch_size or (8 * width if bricks == 1 else 128)
        rate = 6e-4 if bricks == 1 and self.optimizer == "muon" else 1e-3
        rate = WARM_RATE if warm else rate
        if self.adapt == "modulation":
            rate = MODULATION_RATE
        rate = self.learning_rate or rate
        return dataclasses.replace(self, batch_size=batch_size, learning_rate=rate)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> EncodeConfig:
        """The settings called ``default`` or ``paper``, with ``changes`` to single fields."""
        return cls(**{**_preset(_ENCODE_PRESETS, name), **changes})


def _check_common(config: PretrainConfig | EncodeConfig) -> None:
    _one_of("optimizer", config.optimizer, OPTIMIZERS)
    _one_of("device", config.device, DEVICES)
    _one_of("precision", config.precision, PRECISIONS)
    _require(0 <= config.seed < 2**31, "seed", config.seed, "0 to 2147483647")


PAPER_SIREN = SirenConfig(width=256, hidden_layers=5, first_scale=1.0)

# Section 4 of arXiv 2502.09669 and its released code. Tasks are all sampled time steps.
_PRETRAIN_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "siren": PAPER_SIREN,
        "sampling": "lattice",
        "lambda_s": 4,
        "lambda_t": 2,
        "outer": "reptile",
        "outer_steps": 500,
        "inner_steps": 16,
        "tasks": 0,
        "batch_size": 50_000,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "inner_floor": 1.0,
        "weight_decay": 0.0,
        "outer_learning_rate": 1e-4,
        "precision": "fp32",
    },
}
_ENCODE_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "siren": PAPER_SIREN,
        "epochs": 16,
        "batch_size": 50_000,
        "optimizer": "adam",
        "learning_rate": 1e-5,
        "schedule": "constant",
        "selection": "all",
        "weights": "float32",
        "precision": "fp32",
    },
}


def _preset(presets: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    _one_of("preset", name, PRESETS)
    return presets[name]
