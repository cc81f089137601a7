"""Archives and priors that somebody made to do harm: each is read, or refused in one line.

The long campaigns are in ``tests/reliability/fuzz.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from metainr_core import Archive, Prior
from metainr_core.cli import main
from metainr_core.errors import MetaINRError
from tests.reliability import archive_inputs
from tests.reliability.archive_inputs import joined, parts, told
from tests.reliability.fuzzing import Campaign, Watch

GOLDEN = Path(__file__).parents[1] / "golden" / "format3"
STEP, PRIOR = "step_000000.safetensors", "prior.safetensors"
Edit = Callable[[dict[str, Any]], object]
# An audit hook stays as long as the process.
WATCH = Watch(writes=True)


@pytest.fixture(autouse=True, scope="module")
def everything_is_loaded() -> None:
    """Modules and the compiled library, which are no part of what a file has opened."""
    archive_inputs.read_all(GOLDEN / "bound.minr")


def copied(folder: Path, name: str) -> Path:
    """A golden archive under another name."""
    shutil.copytree(GOLDEN / name, folder / "run")
    return Path(shutil.copy(GOLDEN / f"{name}.minr", folder / "run.minr"))


def outcome(path: Path, given: bytes = b"", read: Callable[[], object] | None = None) -> str:
    """What reading all of an archive ends with, within the bounds of ``Campaign``."""
    WATCH.inside = str(path.parent)
    messages = []

    def noted() -> None:
        try:
            (read or (lambda: archive_inputs.read_all(path)))()
        except MetaINRError as error:
            messages.append(str(error))
            raise

    campaign = Campaign("named", path.parent.with_name(path.parent.name + "-found"), WATCH)
    campaign(given, noted)
    assert campaign.tally.findings == []
    return "".join(messages)


def at(place: str, value: Any) -> Edit:
    """Sets an entry of nested dicts and lists: ``grid.dims``, ``steps.0.step``."""

    def edit(data: dict[str, Any]) -> None:
        *outer, last = place.split(".")
        holder: Any = data
        for name in outer:
            holder = holder[int(name)] if isinstance(holder, list) else holder[name]
        holder[int(last) if isinstance(holder, list) else last] = value

    return edit


def twice(data: dict[str, Any]) -> None:
    data["steps"].append(data["steps"][0])


NESTED: Any = json.loads("[" * 500 + "]" * 500)
EDITS = {
    "dims": at("grid.dims", [2**31 - 1] * 3),
    "dims beyond any machine": at("grid.dims", [10**400, 1, 1]),
    "one thin axis": at("grid.dims", [2**40, 1, 1]),
    "negative dims": at("grid.dims", [-4, 4, 4]),
    "no dims": at("grid.dims", []),
    "start": at("grid.start", [2**62, 0, 0]),
    "spacing": at("grid.spacing", [1e308, 1e308, 1e308]),
    "direction": at("grid.direction", [0.0] * 9),
    "width": at("siren.width", 2**31),
    "hidden layers": at("siren.hidden_layers", 10**9),
    "bricks of one voxel": at("siren.brick_size", 1),
    "negative bricks": at("siren.brick_size", -8),
    "omega": at("siren.omega_0", 1e300),
    "components": at("components", 10**9),
    "range": at("value_range", {"low": [0.0], "high": [1e308]}),
    "members": at("info.members", [{"name": "a", "first": 0, "count": 2**62, "parameters": {}}]),
    "negative members": at("info.members", [{"name": "", "first": -5, "count": 9}]),
    "members within members": at("info.members", NESTED),
    "series of all steps": at("info.series_steps", 10**18),
    "deep description": at("info.encode", NESTED),
    "name that ends lines": at("array", "a\nb\x1b]0;owned\x07\u202e"),
    "name that is none": at("array", "\ud800"),
    "newer": at("version", 10**30),
    "version": at("version", "three"),
    "negative step": at("steps.0.step", -1),
    "step of 64 bits": at("steps.0.step", 2**64),
    "step that is true": at("steps.0.step", True),
    "step twice": twice,
    "hash that is a path": at("steps.0.sha256", "../../../etc/passwd"),
    "reference": at("steps.0.reference", "../previous"),
    "bytes": at("steps.0.bytes", -1),
    "time": at("steps.0.time", 1e400),
}
READABLE = {"dims", "start", "spacing", "name that ends lines", "hash that is a path", "bytes"}


@pytest.mark.parametrize("name", EDITS)
def test_an_index_that_was_edited(tmp_path: Path, name: str) -> None:
    path = copied(tmp_path, "prior")
    data = json.loads(path.read_bytes())
    EDITS[name](data)
    path.write_text(json.dumps(data))
    message = outcome(path, path.read_bytes())
    assert message.isprintable()
    assert message or name in READABLE
    WATCH.inside = None
    assert main(["info", str(path)]) in (0, 2)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[" * 1_000_000,
        b'{"format":"minr","version":3,"a":' * 20_000,
        b'{"format":"minr","version":' + b"9" * 100_000 + b"}",
        b'{"format":"minr","version":3,"steps":[' + b"{}," * 2_000_000 + b"{}]}",
        b'{"format":"minr","format":"minr","version":3,"version":2}',
        '{"format":"minr","version":3}'.encode("utf-16"),
        b'{"format":"minr","version":NaN}',
        b'{"format":"minr","version":3,"array":"' + b"\xff" * 100 + b'"}',
        b"\x00" * 1000,
    ],
    ids=["empty", "deep", "deep-objects", "digits", "rows", "twice", "utf-16", "nan", "bytes", "0"],
)
def test_an_index_that_is_none(tmp_path: Path, text: bytes) -> None:
    path = copied(tmp_path, "prior")
    path.write_bytes(text)
    assert outcome(path, text)


def rewritten(path: Path, own: str, change: Callable[..., Any]) -> bytes:
    """Puts a changed file into an archive, whose index describes it as it is then."""
    file = path.with_suffix("") / own
    metadata, entries, body = parts(file.read_bytes())
    data = joined(*(change(metadata, entries, body) or (metadata, entries, body)))
    file.write_bytes(data)
    if own == STEP:
        path.write_bytes(told(path.read_bytes(), data))
    return data


def code_of(side: bytes, words: bytes = b"") -> Callable[..., Any]:
    """Coded weights made by hand: what is told of their groups, and the rest."""

    def change(metadata: Any, entries: Any, _body: bytes) -> Any:
        body = struct.pack("<I", len(side)) + side + words
        entries["code"] = {"dtype": "U8", "shape": [len(body)], "data_offsets": [0, len(body)]}
        return metadata, {"code": entries["code"]}, body

    return change


def of_header(edit: Edit) -> Callable[..., Any]:
    return lambda metadata, _entries, _body: edit(metadata) and None


def of_tensors(edit: Edit) -> Callable[..., Any]:
    return lambda _metadata, entries, _body: edit(entries) and None


def filled(value: float) -> Callable[..., Any]:
    def change(metadata: Any, entries: Any, body: bytes) -> Any:
        return metadata, entries, np.full(len(body) // 4, value, "<f4").tobytes()

    return change


STEPS: dict[str, tuple[str, Callable[..., Any]]] = {
    "a bomb in the weights": ("prior", code_of(zlib.compress(bytes(100_000_000), 9))),
    "weights of nothing": ("prior", code_of(b"")),
    "weights that go on": ("prior", code_of(zlib.compress(b"\x01" * 12, 9), b"\xff" * 64)),
    "a length of its own": ("prior", of_tensors(at("code.shape", [2**62]))),
    "offsets beyond the file": ("prior", of_tensors(at("code.data_offsets", [0, 2**62]))),
    "negative offsets": ("prior", of_tensors(at("code.data_offsets", [-8, 8]))),
    "another type": ("prior", of_tensors(at("code.dtype", "F64"))),
    "a type that is none": ("prior", of_tensors(at("code.dtype", ["U8"]))),
    "shared bytes": ("float32", of_tensors(lambda e: e["bias_1"].update(e["bias_0"]))),
    "NaN": ("float32", filled(float("nan"))),
    "infinite": ("float32", filled(float("inf"))),
    "too large to compute with": ("float32", filled(1e38)),
    "terabytes of networks": ("prior", of_header(at("header.grid.dims", [10**6] * 3))),
    "widths": ("prior", of_header(at("header.siren.width", 10**6))),
    "its own predecessor": ("prior", of_header(at("record.reference", "previous"))),
    "another step": ("prior", of_header(at("record.step", 77))),
    "no record": ("prior", of_header(at("record", None))),
    "a description without end": ("prior", of_header(at("info.encode", NESTED))),
    "megabytes of description": ("prior", of_header(at("info.x", "x" * 20_000_000))),
    "a rest beyond the data": ("bound", of_tensors(at("residual.shape", [2**40]))),
}


@pytest.mark.parametrize("rebuilds", [False, True], ids=["index", "no-index"])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_was_made(tmp_path: Path, name: str, rebuilds: bool) -> None:
    archive, change = STEPS[name]
    path = copied(tmp_path, archive)
    data = rewritten(path, STEP, change)
    if rebuilds:
        path.unlink()
        for other in path.with_suffix("").glob("step_*"):
            if other.name != STEP:
                other.unlink()
    message = outcome(path, data)
    # The index knows better what a step's file says of all.
    known = not rebuilds and name in ("terabytes of networks", "widths", "megabytes of description")
    assert message or known or name == "megabytes of description"


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 10**9, 8, 0])
@pytest.mark.parametrize("own", [STEP, PRIOR])
def test_lengths_of_headers(tmp_path: Path, own: str, value: int) -> None:
    path = copied(tmp_path, "prior")
    file = path.with_suffix("") / own
    file.write_bytes(struct.pack("<Q", value) + file.read_bytes()[8:])
    assert outcome(path, file.read_bytes())
    with pytest.raises(MetaINRError):
        Prior.load(file)


@pytest.mark.parametrize(
    "edit",
    [
        at("siren.width", 2**31), at("siren.hidden_layers", 10**9), at("siren.omega_0", 1e300),
        at("components", 10**12), at("history", [{"round": NESTED}]), at("history", 5),
        at("outer_state", ["a"] * 100_000), at("outer_state", ["../../x"]),
        at("config.outer_steps", -1), at("value_range.low", [float("nan")]),
        at("voxel_share", "much"), at("version", 10**30), at("weights", "pickle"),
    ],
)  # fmt: skip
def test_a_prior_that_was_made(tmp_path: Path, edit: Edit) -> None:
    path = copied(tmp_path, "prior")
    data = rewritten(path, PRIOR, of_header(edit))
    prior = path.with_suffix("") / PRIOR
    assert outcome(path, data, lambda: Prior.load(prior))


def test_a_long_chain_is_followed_without_recursion(tmp_path: Path) -> None:
    """Each of 30,000 rows says that its weights are a difference to those before."""
    path = copied(tmp_path, "previous")
    data = json.loads(path.read_bytes())
    row = next(r for r in data["steps"] if r["reference"] == "previous")
    data["steps"] = [{**row, "step": n, "time": float(n)} for n in range(1, 30_000)]
    data["info"]["series_steps"] = 30_000
    path.write_text(json.dumps(data))
    for number in range(1, 30_000):
        (tmp_path / "run" / f"step_{number:06d}.safetensors").touch()
    message = outcome(path, path.read_bytes(), lambda: Archive.open(path).load_step(29_999))
    assert "step" in message


def test_numbers_in_other_scripts_are_no_steps(tmp_path: Path) -> None:
    path = copied(tmp_path, "prior")
    shutil.copy(tmp_path / "run" / STEP, tmp_path / "run" / "step_٠٠٠٠٠٩.safetensors")
    assert outcome(path) == ""
    assert 9 not in Archive.open(path).steps


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """An archive of somebody else, which a link leads to."""
    (tmp_path / "away").mkdir()
    return copied(tmp_path / "away", "prior")


@pytest.mark.parametrize("own", [STEP, PRIOR])
def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, canary: Path, own: str) -> None:
    (tmp_path / "here").mkdir()
    path = copied(tmp_path / "here", "prior")
    file = path.with_suffix("") / own
    target = canary.with_suffix("") / own
    file.unlink()
    file.symlink_to(target)
    before = target.read_bytes()
    assert "is a symbolic link" in outcome(path) or own == PRIOR
    assert target.read_bytes() == before


def test_a_folder_that_is_a_link(tmp_path: Path, canary: Path) -> None:
    (tmp_path / "here").mkdir()
    path = Path(shutil.copy(canary, tmp_path / "here"))
    path.with_suffix("").symlink_to(canary.with_suffix(""))
    assert "is a symbolic link to" in outcome(path)


@pytest.mark.parametrize("own", ["run.minr", f"run/{STEP}", f"run/{PRIOR}"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file(tmp_path: Path, own: str, kind: str) -> None:
    path = copied(tmp_path, "prior")
    file = tmp_path / own
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")
    assert outcome(path)


@pytest.mark.parametrize("reader", ["index", "step", "prior"])
def test_changes_to_good_files_are_read_or_refused(tmp_path: Path, reader: str) -> None:
    """Two hundred inputs such as the campaign's."""
    folder, random = tmp_path / "files", Random(1)
    archive_inputs.prepare(reader, folder)
    seeds, results = archive_inputs.seeds(reader), set()
    for number in range(200):
        data = archive_inputs.mutated(seeds[number % len(seeds)], random)
        results.add(bool(outcome(archive_inputs.put(reader, folder, data), data)))
    assert results == {False, True}
