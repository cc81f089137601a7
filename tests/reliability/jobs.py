"""Work that writes files and may be killed at any time, and what must hold afterwards."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from metainr_core import pretraining
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.ensemble import EnsembleSeries, Run
from metainr_core.export import export
from metainr_core.hashing import file_sha256, fingerprint
from metainr_core.metrics import Errors, psnr
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.records import StepRecord
from metainr_core.replacing import replacing
from metainr_core.series import ArraySeries, Series

ROOT = Path(__file__).resolve().parents[2]
Found = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """``prepare`` makes the folder that ``run`` starts in; ``check`` returns the finished parts
    after any end, by name, and raises AssertionError; ``result``: what every finished run has."""

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    check: Callable[[Path], Found]
    result: Callable[[Path], Found]


def flow(size: int, steps: int, phase: float = 0.0) -> ArraySeries:
    """Waves that travel through each other, about -2 to 2."""
    random = np.random.default_rng(7)
    z, y, x = np.meshgrid(*(np.linspace(0, 2 * math.pi, size),) * 3, indexing="ij")
    numbers = random.integers(-2, 3, (6, 3))
    shifts = random.uniform(0, 2 * math.pi, 6)
    arrays = [
        sum(
            np.sin(k[0] * x + k[1] * y + k[2] * z + shift + 0.2 * step + phase)
            for k, shift in zip(numbers, shifts, strict=True)
        )
        for step in range(steps)
    ]
    return ArraySeries([np.asarray(a, np.float32) for a in arrays], array="speed")


def cut(series: Series, size: int, steps: int) -> ArraySeries:
    """The middle of a real series."""
    slices = tuple(slice((n - min(n, size)) // 2, (n + min(n, size)) // 2)
                   for n in series.grid.dims[::-1])  # fmt: skip
    arrays = [series.read(step)[slices] for step in range(min(steps, len(series)))]
    return ArraySeries(arrays, array=series.array, name=series.name)


def write_dataset(folder: Path, series: Series) -> None:
    """As files that ``metainr`` reads without VTK."""
    name = series.array
    (folder / name).mkdir(parents=True)
    for step in range(len(series)):
        path = folder / name / f"{folder.name}-{name}-{step + 1}.raw"
        path.write_bytes(series.read(step).tobytes())
    index = {"name": folder.name, "dims": list(series.grid.dims), "vars": [name]}
    (folder / "dataset.json").write_text(json.dumps({**index, "total_samples": len(series)}))


def make_jobs(series: Series, other: Series, epochs: int, rounds: int) -> list[Job]:
    """One for each family of settings. ``other``: a second series on the same grid."""
    siren = SirenConfig(width=12, hidden_layers=1, omega_0=10.0)
    base = EncodeConfig(
        siren=siren, init="random", epochs=epochs, batch_size=512, precision="fp32", device="cpu"
    )
    learning = PretrainConfig(
        siren=siren, lambda_t=2, fraction=0.05, outer_steps=rounds, inner_steps=8, tasks=4,
        batch_size=128, precision="fp32", device="cpu",
    )  # fmt: skip
    together = EnsembleSeries([Run("a", series, {}), Run("b", other, {})], "runs.csv")

    def encoding(name: str, source: Series = series, **changes: Any) -> Job:
        config = dataclasses.replace(base, **changes)
        needs_prior = config.init == "meta"
        return Job(
            name,
            lambda folder: _write_prior(series, learning, folder) if needs_prior else None,
            lambda folder: _encode(folder, source, config),
            lambda folder: archive_found(folder / "run.minr", [source]),
            lambda folder: archive_result(folder / "run.minr"),
        )

    def overwriting() -> Job:
        """Other data on the same grid, with the same prior: files of both look alike."""
        config = dataclasses.replace(base, init="meta")

        def prepare(folder: Path) -> None:
            _write_prior(series, learning, folder)
            _encode(folder, other, config)

        return Job(
            "encode --overwrite",
            prepare,
            lambda folder: _encode(folder, series, config, overwrite=True),
            lambda folder: archive_found(
                folder / "run.minr", [series, other], own=lambda record: _is_of(record, series)
            ),
            lambda folder: archive_result(folder / "run.minr"),
        )

    def other_settings() -> Job:
        """The steps of an archive, one after the other, with a new prior and more passes."""
        before, after = (dataclasses.replace(base, init="meta", epochs=n) for n in (1, epochs))

        def prepare(folder: Path) -> None:
            _write_prior(series, dataclasses.replace(learning, outer_steps=2), folder)
            _encode(folder, series, before)
            _write_prior(series, learning, folder)

        return Job(
            "encode with another prior",
            prepare,
            lambda folder: _encode(folder, series, after),
            lambda folder: archive_found(
                folder / "run.minr",
                [series],
                own=lambda record: record.epochs == epochs,
                whole=False,
            ),
            lambda folder: archive_result(folder / "run.minr"),
        )

    def learning_job(name: str, **changes: Any) -> Job:
        config = dataclasses.replace(learning, **changes)

        def run(folder: Path) -> None:
            pretraining._SAVE_EVERY = 0.02  # several times in these short runs
            pretrain(series, config, folder / "p.safetensors")

        return Job(name, lambda folder: None, run, prior_found, prior_result)

    def exporting() -> Job:
        def run(folder: Path) -> None:
            archive = Archive.open(folder / "run.minr")
            export(archive, folder / "out.pvd", archive.grid, archive.steps, device="cpu")

        return Job(
            "decode",
            lambda folder: _encode(folder, series, dataclasses.replace(base, epochs=1)),
            run,
            images_found,
            lambda folder: {**images_found(folder), "pvd": (folder / "out.pvd").read_bytes()},
        )

    def saving() -> Job:
        """As File > Save Data does."""

        def run(folder: Path) -> None:
            with replacing(folder / "run.minr") as new:
                _encode(folder, series, base, path=new)

        def prepare(folder: Path) -> None:
            _encode(folder, other, dataclasses.replace(base, epochs=1))
            (folder / "run" / "notes.txt").write_text("mine")

        def check(folder: Path) -> Found:
            assert (folder / "run" / "notes.txt").read_text() == "mine"
            archive_found(folder / "run.minr", [series, other])
            records = Archive.open(folder / "run.minr").records
            assert any(
                len(records) == len(one) and all(_is_of(r, one) for r in records)
                for one in (series, other)
            ), "neither the old archive nor the new one"
            return {}  # a second run makes all of it again

        return Job("save data", prepare, run, check, lambda f: archive_result(f / "run.minr"))

    def program(name: str, *flags: str) -> Job:
        """A process of its own, from the start of Python on."""
        network = ["--width", "12", "--hidden-layers", "1", "--omega-0", "10"]
        output, check, result = "run.minr", encoded.check, encoded.result
        if name == "pretrain":
            output, check, result = "p.safetensors", prior_found, prior_result

        def run(folder: Path) -> None:
            os.chdir(folder)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            code = "import sys; from metainr_core.cli import main; sys.exit(main())"
            command = ["-c", code, name, "flow", "-o", output, *network, *flags]
            os.environ["PYTHONPATH"] = str(ROOT)
            os.execv(sys.executable, [sys.executable, *command])

        return Job(
            f"metainr {name}", lambda folder: write_dataset(folder / "flow", series), run,
            lambda folder: check(folder), lambda folder: result(folder),
        )  # fmt: skip

    encoded = encoding("encode, random float32", weights="float32")
    return [
        program("encode", "--epochs", str(4 * epochs), "--precision", "fp32", "--device", "cpu"),
        program("pretrain", "--outer-steps", str(4 * rounds), "--precision", "fp32"),
        encoding("encode, meta", init="meta"),
        encoding("encode, previous", init="previous", key_interval=3),
        encoded,
        encoding("encode, random float16", weights="float16"),
        encoding("encode, max_error", max_error=0.05),
        encoding("encode, ensemble", together, init="meta"),
        overwriting(),
        other_settings(),
        learning_job("pretrain, reptile"),
        learning_job("pretrain, fomaml", outer="fomaml", outer_learning_rate=1e-3),
        learning_job("pretrain, pooled", outer="pooled"),
        exporting(),
        saving(),
    ]


def _write_prior(series: Series, config: PretrainConfig, folder: Path) -> None:
    pretrain(series, config, folder / "p.safetensors")


def _encode(
    folder: Path,
    series: Series,
    config: EncodeConfig,
    overwrite: bool = False,
    path: Path | None = None,
) -> None:
    prior = Prior.load(folder / "p.safetensors") if config.init == "meta" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that steps are replaced
        encode(series, path or folder / "run.minr", prior=prior, config=config, overwrite=overwrite)


# What holds afterwards


def archive_found(
    path: Path,
    sources: list[Series],
    own: Callable[[StepRecord], bool] = lambda record: True,
    whole: bool = True,
) -> Found:
    """The steps that are ``own``, and the sha256 of their files, once each is as it is recorded.

    ``whole``: none may be damaged. While a prior is replaced, steps that need the old one are.
    """
    if not Archive.exists(path):
        assert len(sources) == 1, "the old archive is gone"
        return {}
    archive = Archive.open(path)
    assert archive.missing == []
    damaged = archive.damaged()
    assert not (whole and damaged), f"steps {damaged} are damaged"
    found = {}
    for record in archive.records:
        if record.step in damaged:
            continue
        originals = [s.read(record.step) for s in sources if _is_of(record, s)]
        assert originals, f"step {record.step} is of no series"
        errors = Errors.between(originals[0], archive.decode(record.step, device="cpu"))
        width = float(originals[0].max() - originals[0].min())
        assert math.isclose(errors.largest, record.max_error, rel_tol=1e-5), "max_error"
        assert math.isclose(psnr(errors.mean_squared, width), record.psnr, rel_tol=1e-6), "psnr"
        assert not record.bound or errors.largest <= record.bound, "bound"
        if own(record):
            found[f"step {record.step}"] = file_sha256(archive.step_path(record.step))
    return found


def _is_of(record: StepRecord, series: Series) -> bool:
    return record.step < len(series) and series.scan()[record.step].digest == record.data


def archive_result(path: Path) -> Found:
    """All that two runs have in common: weights bit for bit, figures, values."""
    archive = Archive.open(path)
    assert archive.damaged() == []
    found: Found = {"header": archive.header.to_json(), "info": archive.info}
    for record in archive.records:
        figures = record.to_json()
        for name in ("seconds", "bytes", "ratio", "sha256"):
            del figures[name]
        with safe_open(archive.step_path(record.step), framework="np") as file:
            tensors = {n: hashlib.sha256(file.get_tensor(n).tobytes()) for n in file.keys()}  # noqa: SIM118
        weights = fingerprint(*(t.numpy() for t in archive.load_step(record.step).tensors))
        values = fingerprint(archive.decode(record.step, device="cpu"))
        hashes = {n: digest.hexdigest() for n, digest in tensors.items()}
        found[f"step {record.step}"] = (figures, hashes, weights, values)
    if archive.prior_path.exists():
        found["prior"] = Prior.load(archive.prior_path).digest
    assert len(json.loads(path.read_bytes())["steps"]) == len(archive.steps), "index"
    return found


def prior_found(folder: Path) -> Found:
    """The rounds that are saved."""
    path = folder / "p.safetensors"
    if not path.exists():
        return {}
    history = Prior.load(path).history
    return {f"round {row['round']}": row["loss_after"] for row in history}


def prior_result(folder: Path) -> Found:
    prior = Prior.load(folder / "p.safetensors")
    assert prior.finished
    rows = [(row["round"], row["loss_before"], row["loss_after"]) for row in prior.history]
    state = {
        name: [t.numpy().tobytes() for t in s.tensors] for name, s in prior.outer_state.items()
    }
    return {"digest": prior.digest, "rows": rows, "state": state}


def images_found(folder: Path) -> Found:
    files = sorted((folder / "out").glob("step_*.vti"))
    for file in files:
        assert file.read_bytes().rstrip().endswith(b"</VTKFile>"), f"{file.name} is cut"
    return {file.name: file_sha256(file) for file in files}


def leftovers(folder: Path) -> list[str]:
    """Hidden files, which nobody sees and nobody would delete."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".*"))


def reset(folder: Path, template: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
