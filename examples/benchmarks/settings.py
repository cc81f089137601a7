"""How much is measured: in full, and quickly to see that all parts work."""

from __future__ import annotations

from dataclasses import dataclass

from metainr_core import SirenConfig


def brick(width: int) -> SirenConfig:
    """Bricks of 32³ with two hidden layers."""
    return SirenConfig(width, hidden_layers=2, brick_size=32)


@dataclass(frozen=True)
class Load:
    """One row of the throughput table.

    ``siren`` None: the network that is chosen for a volume of this size. ``edge``: of the
    volume. ``epochs``: passes of a fit; ``rounds``: of pretraining, 0 to leave it out.
    ``goals``: shares of the product rate wanted of training and decoding on a CPU.
    """

    siren: SirenConfig | None
    edge: int
    epochs: int = 1
    rounds: int = 3
    goals: tuple[float, float] | None = None


@dataclass(frozen=True)
class Settings:
    """Short measurements are repeated, for at least so many ``seconds`` each; so are ``fits``.

    Ceilings: products of ``rows`` × ``widths`` × ``widths``. Throughput: ``loads``, on CUDA all of
    volumes of ``cuda_edge``³; a decoding takes ``decode_operations`` on a CPU, more on CUDA.

    Curves: so many ``steps`` of a series are fitted (0: four, or one per core if that is more).
    ``epochs``: passes; the last is the length that methods are compared at and that plain Adam
    is tuned for, over the grid of ``adam_…``. ``published_rounds``: of the published
    pretraining, 500 in the paper. ``pretrain_rounds``: of ours (0: default); ``wide_rounds``: of
    ours for the published network, which is fitted for ``wide_epochs``.
    """

    repeats: int = 5
    fits: int = 3
    seconds: float = 0.3
    rows: int = 50_000
    widths: tuple[int, ...] = (256, 64)
    copy_bytes: int = 1 << 28
    loads: tuple[Load, ...] = (
        Load(SirenConfig(64, 3), 48, epochs=4, rounds=4, goals=(0.40, 0.45)),
        Load(SirenConfig(128, 4), 48, epochs=1, rounds=3),
        Load(SirenConfig(256, 5), 40, epochs=1, rounds=2, goals=(0.60, 0.70)),
        Load(brick(16), 128, epochs=1, rounds=4),
        Load(brick(24), 128, epochs=1, rounds=4),
        Load(None, 128, epochs=1, rounds=4),
    )
    cuda_edge: int = 128
    decode_operations: float = 20e9

    steps: int = 0
    epochs: tuple[float, ...] = (0.5, 1, 2, 4, 8, 16)
    previous_epochs: tuple[float, ...] = (1, 2, 4)
    pretrain_rounds: int = 0
    # Batches from 128 to 8192 and rates from 2e-4 to 4e-3 were tried on six series: the best of
    # each is here or next to it.
    adam_batches: tuple[int, ...] = (256, 512)
    adam_rates: tuple[float, ...] = (3.5e-4, 7e-4, 1e-3)
    adam_first_scales: tuple[float, ...] = (1.0, 0.5)
    published_rounds: int = 40
    published_width: int = 256
    published_batch: int = 50_000
    wide_epochs: tuple[float, ...] = (1, 2, 4)
    wide_rounds: int = 10

    memory_sizes: tuple[int, ...] = (128, 256)


QUICK = Settings(
    repeats=3,
    fits=1,
    seconds=0.02,
    copy_bytes=1 << 24,
    loads=(
        Load(SirenConfig(64, 3), 16, rounds=1, goals=(0.40, 0.45)),
        Load(SirenConfig(256, 5), 12, rounds=0, goals=(0.60, 0.70)),
        Load(brick(16), 48, rounds=1),
    ),
    cuda_edge=32,
    decode_operations=1e8,
    steps=1,
    epochs=(1, 2),
    previous_epochs=(1,),
    pretrain_rounds=2,
    adam_batches=(4096,),
    adam_rates=(1e-3, 2e-3),
    adam_first_scales=(1.0,),
    published_rounds=1,
    published_width=64,
    wide_epochs=(1,),
    wide_rounds=1,
    memory_sizes=(48,),
)
