"""Feeds made-up files to their readers: of series (pvd, vti, json, csv) and archives (index, step,
prior).

    .venv/bin/python tests/reliability/fuzz.py --inputs 100000 --work /dev/shm/fuzz

Each reader gets that many inputs in a child process of its own. With --how coverage they come from
atheris (pip install atheris, wherever PYTHONPATH finds it), which prefers what reaches new code;
with --how structure from hypothesis, whose files are right but in some places. What comes out must
be a result or a MetaINRError, within 2 seconds and 4 times the file's size + 200 MB, with nothing
written outside of an archive's folder. What is not is kept in WORK/found and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

SERIES, ARCHIVES = ("pvd", "vti", "json", "csv"), ("index", "step", "prior")
READERS = (*SERIES, *ARCHIVES)
TOKENS = (
    "<VTKFile", "type=", "ImageData", "<DataSet", "file=", "good.vti", "timestep=", "part=",
    "WholeExtent=", "Extent=", "<Piece", "<PointData>", "<CellData>", "<DataArray", "Name=",
    "NumberOfComponents=", "format=", "ascii", "binary", "appended", "offset=", "<AppendedData",
    "encoding=", "raw", "base64", "header_type=", "UInt32", "UInt64", "byte_order=", "BigEndian",
    "compressor=", "vtkZLibDataCompressor", "vtkLZMADataCompressor", "vtkLZ4DataCompressor",
    "Float32", "Float64", "Int8", "UInt64", "Bit", "String", "Spacing=", "Origin=", "Direction=",
    "nan", "inf", "1e308", "-1", "2147483647", "9223372036854775807", "<!DOCTYPE", "<![CDATA[",
    "dims", "vars", "total_samples", "name", "speed", "..", "[", "{", "time", "FILE", "data.csv",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="per reader")
    parser.add_argument("--how", choices=("coverage", "structure"), default="coverage")
    parser.add_argument("--reader", choices=READERS, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, best in memory")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    readers = options.reader or list(READERS)
    if options.child:
        return run_child(readers[0], options)
    failed = False
    print("| reader | inputs | read | refused | slowest | most memory | findings |")
    print("|---|---|---|---|---|---|---|")
    for reader in readers:
        command = [sys.executable, __file__, "--child", "--reader", reader, "--how", options.how]
        command += ["--inputs", str(options.inputs), "--seed", str(options.seed)]
        log = options.work / f"{reader}-{options.how}.log"
        options.work.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            code = subprocess.run(
                [*command, "--work", str(options.work)], stdout=file, stderr=file
            ).returncode
        figures = json.loads((options.work / "found" / f"{reader}.json").read_text())
        from tests.reliability.fuzzing import Tally

        tally = Tally(**figures)
        print(tally.row(), flush=True)
        for finding in tally.findings:
            print(f"  {finding}")
        if code or tally.inputs < options.inputs:
            print(f"  {reader}: ended with code {code} after {tally.inputs} inputs; see {log}")
        failed |= bool(code or tally.findings)
    return int(failed)


def run_child(reader: str, options: argparse.Namespace) -> int:
    folder = options.work / reader
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if options.how == "coverage":
        return fuzz_by_coverage(reader, folder, options)
    return fuzz_by_structure(reader, folder, options)


def inputs_of(reader: str) -> Any:
    """The module that makes and reads such files."""
    name = "series_inputs" if reader in SERIES else "archive_inputs"
    return importlib.import_module(f"tests.reliability.{name}")


def make_campaign(reader: str, folder: Path, found: Path) -> Any:
    """Reads inputs as a file of one kind, beside files that such a file can name."""
    from metainr_core.errors import MetaINRError, MetaINRWarning
    from tests.reliability.fuzzing import Campaign, Watch

    inputs = inputs_of(reader)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", MetaINRWarning)
    folder.mkdir()
    inputs.prepare(reader, folder)
    # So that nothing is left to be imported while the reader is watched.
    for data in inputs.seeds(reader):
        with suppress(MetaINRError):
            inputs.read_all(inputs.put(reader, folder, data))
    inside = None if reader in ("pvd", "csv") else str(folder)
    campaign = Campaign(reader, found, Watch(inside, writes=reader in ARCHIVES))

    def feed(data: bytes) -> None:
        path = inputs.put(reader, folder, data)
        campaign(data, lambda: inputs.read_all(path))

    return campaign, feed


def fuzz_by_coverage(reader: str, folder: Path, options: argparse.Namespace) -> int:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["metainr_core", "json", "csv"]):
        for name in ("series", "vti", "dataset_json", "ensemble", "archive", "verify"):
            importlib.import_module(f"metainr_core.{name}")
    inputs = inputs_of(reader)
    campaign, feed = make_campaign(reader, folder / "files", options.work / "found")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(inputs.seeds(reader)):
        (corpus / f"seed{number}").write_bytes(data)
    tokens = folder / "tokens"
    tokens.write_text("".join(f'"{t}"\n' for t in TOKENS))

    def one(data: bytes) -> None:
        feed(data)
        if campaign.tally.inputs % 500 == 0 or campaign.tally.inputs >= options.inputs:
            campaign.save()

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.randrange(8) == 0:
            return bytes(atheris.Mutate(data, most))
        return bytes(inputs.mutated(data, random)[:most])

    settings = [f"-runs={options.inputs}", f"-seed={options.seed}", f"-dict={tokens}"]
    settings += [f"-max_len={4096 if reader in SERIES else 16384}", "-len_control=0"]
    settings += ["-mutate_depth=4", "-cross_over=0"]
    settings += [f"-artifact_prefix={options.work}/found/{reader}-crash-"]
    settings += ["-timeout=30", "-rss_limit_mb=8192"]
    atheris.Setup([sys.argv[0], *settings, str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def fuzz_by_structure(reader: str, folder: Path, options: argparse.Namespace) -> int:
    from hypothesis import HealthCheck, Phase, given, seed, settings

    campaign, feed = make_campaign(reader, folder / "files", options.work / "found")

    @settings(
        max_examples=options.inputs, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @seed(options.seed)
    @given(data=inputs_of(reader).strategy(reader))
    def run(data: bytes) -> None:
        feed(data)
        if campaign.tally.inputs % 500 == 0:
            campaign.save()

    run()
    campaign.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
