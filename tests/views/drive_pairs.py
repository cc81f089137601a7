"""Run by pvpython: which pair the macro takes from pipelines, as JSON: names, or the error.

drive_pairs.py FOLDER with original/series.pvd, other/series.pvd and run.minr.
"""

import json
import sys
from typing import Any

from metainr_views.sources import SideBySideError, label, pair_in_pipeline, select
from paraview import simple

folder = sys.argv[1]
found: dict[str, list[str]] = {}


def pair(case: str, *chosen: Any) -> None:
    select(chosen)
    try:
        found[case] = [label(source) for source in pair_in_pipeline()]
    except SideBySideError as error:
        found[case] = [str(error)]


def series(name: str) -> Any:
    source = simple.PVDReader(registrationName=name, FileName=f"{folder}/{name}/series.pvd")
    source.UpdatePipeline()
    return source


pair("nothing")
original = series("original")
pair("one series", original)
reader = simple.MetaINRReader(registrationName="reader", FileName=f"{folder}/run.minr")
reader.UpdatePipeline()
pair("a reader and the only series")
other = series("other")
pair("a reader and one of two series")
pair("two series", other, original)
pair("a reader before its series", reader, other)

encode = simple.MetaINREncode(registrationName="encode", Input=other, ArchiveFile="")
decode = simple.MetaINRDecode(registrationName="decode", Input=encode)
pair("the only Decode")
pair("its Encode", encode)
second = simple.MetaINRDecode(registrationName="second", Input=encode)
pair("one of two Decodes", second)
pair("an Encode of two Decodes", encode)

compare = simple.MetaINRCompare(
    registrationName="compare", Reference=other, Reconstruction=original
)
pair("the only Compare")
pair("another's selected Decode", decode)
pair("two series, beside a Compare", original, other)
simple.MetaINRCompare(registrationName="again", Reference=original, Reconstruction=other)
pair("one of two Compares", compare)
pair("two Compares")
print(json.dumps(found))
