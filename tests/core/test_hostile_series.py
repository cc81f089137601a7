"""Files of series that want to do harm: one clear refusal each, in bounded time and memory.

The long campaigns are in ``tests/reliability/fuzz.py``; what they found is here by name.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings

from metainr_core import bounded_xml, cinema, ensemble
from metainr_core.errors import SeriesError, one_line
from metainr_core.series import open_series
from tests.core.hostile import (
    LAUGHS,
    VALUES,
    image,
    inline,
    outcome,
    plain,
    read_all,
)
from tests.reliability import series_inputs


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits to numbers, smaller than they are, so that they are reached soon."""
    monkeypatch.setattr(bounded_xml, "_MOST_ELEMENTS", 900)
    monkeypatch.setattr(cinema, "_MOST_ROWS", 600)
    monkeypatch.setattr(ensemble, "_MOST_RUNS", 50)


GOOD = image(data=inline(plain()))


def pvd(*entries: str) -> bytes:
    body = "".join(f"<DataSet {e}/>" for e in entries)
    return f"<VTKFile type='Collection'><Collection>{body}</Collection></VTKFile>".encode()


def series(folder: Path, **files: bytes) -> Path:
    """Files ``a_pvd`` and so on, beside a good ``good.vti``; the first one is the series."""
    (folder / "good.vti").write_bytes(GOOD)
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder / next(iter(files)).replace("_", ".")


def test_what_is_good_is_read(tmp_path: Path) -> None:
    found = read_all(series(tmp_path, a_pvd=pvd('file="good.vti"')))
    assert found.read(0).ravel().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LAUGHS.encode(), "document type declaration"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type declaration"),
        (b"<!DOCTYPE a [<!ENTITY x SYSTEM 'good.vti'>]><a>&x;</a>", "document type declaration"),
        (b"<a>" * 100_000, "nested more than 32 deep"),
        (pvd(*['file="good.vti"'] * 1000), "more than 900 elements"),
        (pvd(f'file="{"x" * 3_000_000}"'), "more than 1048576 bytes"),
        (b"<!--" + b"x" * 3_000_000 + b"--><a/>", "more than 1048576 bytes"),
        (b" <a/>" + b" " * 20_000_000, "header has more than 16777216 bytes"),
        (b"<?xml version='1.0' encoding='unicode_escape'?><a/>", "encoding is 'unicode_escape'"),
        (pvd('file="good.vti"')[:-30] + b"\xff\xfe</VTKFile>", "not well-formed"),
        (b"\0" * 1000, "not well-formed"),
        (pvd('file="a.pvd"'), r"names .*a\.pvd, which is no \.vti file"),
        (pvd('file="b.pvd"'), r"names .*b\.pvd, which is no \.vti file"),
        (pvd('file="/dev/zero"'), r"names /dev/zero, which is no \.vti file"),
        (pvd('file=""'), r"which is no \.vti file"),
        (pvd('file="good.vti/"', 'file="good.vti/x.vti"'), "step 1 of .* does not exist"),
        (pvd(f'file="{"x" * 300}.vti"'), "does not exist"),
        (pvd('file="good.vti" timestep="1e999"'), "its time is inf"),
        (pvd('file="good.vti" timestep="nan"'), "its time is nan"),
        (pvd('file="good.vti" timestep="1"', 'file="good.vti" timestep="1.0"'), "1.0 after 1.0"),
        (pvd('file="good.vti" timestep="&#9;"'), "is no .pvd file"),
        (pvd('file="&#27;[2J&#10;x.vti"'), "is no .pvd file"),
        (pvd('file="&#10;&#x202e;x.vti"'), r"\\n\\u202ex\.vti does not exist"),
    ],
)  # fmt: skip
def test_a_hostile_pvd(tmp_path: Path, data: bytes, expected: str) -> None:
    message = outcome(series(tmp_path, a_pvd=data, b_pvd=pvd('file="good.vti"')))
    assert re.search(expected, message), message
    assert len(list(tmp_path.iterdir())) == 3


def test_a_pvd_names_files_wherever_they_are(tmp_path: Path) -> None:
    """As ParaView's own do; they are only read, and only as ``.vti``."""
    (tmp_path / "sub").mkdir()
    path = series(tmp_path, x_pvd=b"")
    text = pvd('file="../good.vti" timestep="0"', f'file="{tmp_path / "good.vti"}" timestep="1"')
    (tmp_path / "sub" / "a.pvd").write_bytes(text)
    assert outcome(tmp_path / "sub" / "a.pvd") == ""
    path.write_bytes(pvd('file="good.vti"').decode().encode("utf-16"))
    assert outcome(path) == ""


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device"])
@pytest.mark.parametrize("name", ["a.pvd", "x.vti", "data.csv", "dataset.json", "x.raw"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    if name == "x.vti":
        path = series(tmp_path, a_pvd=pvd('file="x.vti"'))
    if name == "x.raw":
        path = dataset(tmp_path)
        (tmp_path / "speed" / "n-speed-1.raw").unlink()
    place = tmp_path / "speed" / "n-speed-1.raw" if name == "x.raw" else tmp_path / name
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(place if kind == "loop" else "/dev/zero")
    with pytest.raises(SeriesError) as error:
        read_all(path)
    assert str(error.value).isprintable()


def dataset(folder: Path, text: str | None = None, **changes: object) -> Path:
    index = {"name": "n", "dims": [2, 2, 2], "vars": ["speed"], "total_samples": 1, **changes}
    (folder / "dataset.json").write_text(json.dumps(index) if text is None else text)
    (folder / "speed").mkdir()
    (folder / "speed" / "n-speed-1.raw").write_bytes(VALUES)
    return folder / "dataset.json"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"dims": [2.0, 2, 2]}, ""),
        ({"dims": [10**30, 1, 1]}, "is no dataset.json.*1000"),
        ({"dims": [-2, -2, 2]}, "is no dataset.json"),
        ({"dims": [0, 2, 2]}, "is no dataset.json"),
        ({"dims": [2.5, 2, 2]}, "is no dataset.json"),
        ({"dims": [True, 2, 2]}, "is no dataset.json"),
        ({"dims": ["2", 2, 2]}, "is no dataset.json"),
        ({"dims": [2, 2, 2, 2]}, "is no dataset.json"),
        ({"dims": [2**31 - 1] * 3}, "has 32 bytes; dims .* need"),
        ({"total_samples": 10**12}, "is no dataset.json"),
        ({"total_samples": 10**9}, "promises 1000000000 .n-speed-2.raw is missing"),
        ({"total_samples": -1}, "is no dataset.json"),
        ({"total_samples": None}, "is no dataset.json"),
        ({"vars": [".."]}, "is no name of a folder"),
        ({"vars": ["../other"]}, "is no name of a folder"),
        ({"vars": ["/etc"]}, "is no name of a folder"),
        ({"vars": ["speed/../speed"]}, "is no name of a folder"),
        ({"vars": ["a\0b"]}, "is no name of a folder"),
        ({"vars": [""]}, "is no name of a folder"),
        ({"vars": [["speed"]]}, "is no text"),
        ({"vars": []}, "several variables|no variable"),
        ({"vars": ["\n\x1b[2J"]}, r"\\n\\x1b\[2J has 0 files"),
        ({"vars": ["x" * 5000]}, "cannot be read: File name too long"),
        ({"vars": ["\ud800"]}, "surrogates not allowed"),
        ({"name": "x" * 500_000}, ""),
        ({"name": ["x"]}, "is no dataset.json"),
        ({"name": "\n", "total_samples": 2}, r"\\n-speed-2.raw is missing"),
        ({"x": "y" * 2_000_000}, "more than 1048576 bytes"),
        ({"text": "[" * 500_000}, "is no dataset.json"),
        ({"text": '{"a":' * 100_000}, "is no dataset.json"),
        ({"text": '{"name": ' + "9" * 900_000 + "}"}, "is no dataset.json"),
        ({"text": "[" + "[]," * 100_000 + "[]]"}, "is no dataset.json"),
        ({"text": '{"vars": 1e999, "vars": {}}'}, "is no dataset.json"),
    ],
)  # fmt: skip
def test_a_hostile_dataset(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    message = outcome(dataset(tmp_path, **changes))  # type: ignore[arg-type]
    assert re.search(expected, message), message
    assert bool(message) == bool(expected)


def test_a_file_of_holes_is_not_believed(tmp_path: Path) -> None:
    side = 6000
    path = dataset(tmp_path, dims=[side, side, side])
    os.truncate(tmp_path / "speed" / "n-speed-1.raw", 4 * side**3)
    message = outcome(path, size=0)
    assert re.search(r"needs 864000000000 bytes; \d+ are free", message), message


def table(*lines: str) -> bytes:
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (table("Re,FILE", "1,good.vti"), ""),
        (table("Re,FILE", "1,data.csv"), "is an ensemble"),
        (table("Re,FILE", "1,./x/../data.csv"), "is an ensemble"),
        (table("Re,FILE", "1,."), "has no dataset.json"),
        (table("Re,FILE", "1,/dev/zero"), r"is no \.vti file"),
        (table("Re,FILE", "1,/**/*.vti"), "does not exist"),
        (table("Re,FILE", "1,/**"), "does not exist"),
        (table("Re,FILE", "1,**"), "does not exist"),
        (table("Re,FILE", "1,/*/*/*/*/*/*.vti"), "does not exist"),
        (table("Re,FILE", f"1,{'[[' * 30_000}*.vti"), "does not exist"),
        (table("Re,FILE", f"1,{'[[' * 30_000}/*.vti"), "does not exist"),
        (table("Re,FILE", f"1,{'*a' * 30_000}.vti"), "does not exist"),
        (table("Re,FILE", f"1,{'*a' * 100}.vti"), "matches no file"),
        (table("Re,FILE", "1,a\0b.vti"), "line contains NUL|no name of a file|does not exist"),
        (table("Re,FILE", "1,a\0b*.vti"), "line contains NUL|no name of a file|no file"),
        (table("Re,FILE", f"1,{'x' * 5000}"), "does not exist"),
        (table("Re,FILE", f"1,{'x' * 5000}*.vti"), "does not exist"),
        (table("Re,FILE", f"1,{'x' * 200_000}"), "field larger than field limit"),
        (table("Re,FILE", '1,"good.vti'), "unexpected end of data"),
        (table("," * 100_000), "is empty"),
        (table("FILE" + "," * 100_000), "100001 columns; expected at most 1000"),
        (table("FILE,x", *["a.vti,1"] * 700), "more than 600 rows"),
        (table("x,FILE", *[f"{n},good.vti" for n in range(60)]), "more than 50 members"),
        (b"FILE,x\n" + b"," * 9_000_000, "expected at most 8388608"),
        ("FILE,x\ngood.vti,1".encode("utf-16"), "is no CSV file"),
        (b"FILE\n\xff", "is no CSV file"),
        (table("time,FILE", "nan,good.vti"), ""),
        (table("time,FILE", "1e999,good.vti"), "expected a number"),
        (table("time,FILE", "1,good.vti", "1,good.vti"), "1.0 after 1.0"),
        (table("name,FILE", '"\x1b]0;x\x07\n",good.vti', "a,none.vti"), r"none\.vti does not"),
        (table("name,FILE", '"a\x1b]0;x\nb",none.vti'), r'member "a\\x1b\]0;x\\nb"'),
    ],
)  # fmt: skip
def test_a_hostile_table(tmp_path: Path, data: bytes, expected: str) -> None:
    message = outcome(series(tmp_path, data_csv=data))
    assert re.search(expected, message), message
    assert bool(message) == bool(expected)


@pytest.mark.parametrize("reader", ["pvd", "vti", "json", "csv"])
def test_changes_to_good_files_are_read_or_refused(tmp_path: Path, reader: str) -> None:
    """A hundred inputs such as the campaign's."""
    series_inputs.prepare(reader, tmp_path)
    random = Random(1)
    results = set()
    seeds = series_inputs.seeds(reader)
    for number in range(100):
        data = seeds[number % len(seeds)]
        for _ in range(random.randrange(1, 4)):
            data = series_inputs.mutated(data, random)
        results.add(bool(outcome(series_inputs.put(reader, tmp_path, data))))
    assert results == {False, True}


@pytest.mark.parametrize("reader", ["pvd", "vti", "json", "csv"])
def test_files_made_by_rules_are_read_or_refused(tmp_path: Path, reader: str) -> None:
    series_inputs.prepare(reader, tmp_path)
    results = set()

    @settings(max_examples=60)
    @given(data=series_inputs.strategy(reader))
    def check(data: bytes) -> None:
        results.add(bool(outcome(series_inputs.put(reader, tmp_path, data))))

    check()
    assert results == {False, True}


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
@pytest.mark.parametrize("end", ["", ".pvd", ".vti", ".csv", "/", "/dataset.json", "*.vti"])
def test_no_file_has_such_a_name(name: str, end: str) -> None:
    with pytest.raises(SeriesError) as error:
        open_series(name + end)
    assert str(error.value).isprintable()


def test_messages_do_nothing_to_a_terminal() -> None:
    assert one_line("é ω 日本 x") == "é ω 日本 x"
    assert one_line("a\nb\r\x1b[31m\x07\x9b\u2028\u202e") == (r"a\nb\r\x1b[31m\x07\x9b\u2028\u202e")
    assert len(one_line("x" * 10_000)) < 2500
    assert len(one_line("\n" * 10_000)) < 2500
    assert str(SeriesError("a\nb")) == r"a\nb"
