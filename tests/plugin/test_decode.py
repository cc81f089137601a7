"""Meta-INR Decode and Reader: geometry, time, parts, and changes of the archive."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_paraview.decode import MetaINRDecode
from metainr_paraview.encode import MetaINREncode
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.reader import MetaINRReader
from metainr_paraview.tables import field_text
from vtkmodules.vtkCommonDataModel import vtkDataObject

from metainr_core.archive import Archive


@pytest.fixture
def decode(encoded: Any) -> Any:
    algorithm = MetaINRDecode()
    algorithm.SetInputConnection(encoded.GetOutputPort())
    return algorithm


@pytest.fixture
def archive(encoded: Any) -> Archive:
    return Archive.open(encoded.GetArchiveFile())


def time_of(algorithm: Any) -> float:
    return algorithm.GetOutputDataObject(0).GetInformation().Get(vtkDataObject.DATA_TIME_STEP())


def test_the_original_grid_and_times(lab: Any, decode: Any, archive: Archive) -> None:
    decode.UpdateInformation()
    info, keys = decode.GetOutputInformation(0), decode.GetExecutive()
    assert info.Get(keys.TIME_STEPS()) == lab.times
    assert info.Get(keys.TIME_RANGE()) == (lab.times[0], lab.times[-1])
    assert info.Get(keys.WHOLE_EXTENT()) == (0, 15, 0, 11, 0, 9)
    assert info.Get(vtkDataObject.SPACING()) == lab.grid.spacing
    assert info.Get(vtkDataObject.ORIGIN()) == lab.grid.origin
    decode.UpdateTimeStep(2.5)
    image = decode.GetOutputDataObject(0)
    assert image.GetSpacing() == lab.grid.spacing
    assert image.GetOrigin() == lab.grid.origin
    assert image.GetPointData().GetScalars().GetName() == "speed"
    np.testing.assert_array_equal(lab.values(image), archive.decode(2))


@pytest.mark.parametrize(
    ("asked", "given"), [(-9.0, 0.5), (0.7, 0.5), (0.8, 1.0), (2.5, 2.5), (99.0, 3.0)]
)
def test_the_nearest_time(
    lab: Any, decode: Any, archive: Archive, asked: float, given: float
) -> None:
    decode.UpdateTimeStep(asked)
    assert time_of(decode) == given
    step = lab.times.index(given)
    np.testing.assert_array_equal(lab.values(decode.GetOutputDataObject(0)), archive.decode(step))


def test_no_time_gives_the_first_step(decode: Any) -> None:
    decode.Update()
    assert time_of(decode) == 0.5


def test_scale_and_dims(lab: Any, decode: Any, archive: Archive) -> None:
    bounds = archive.grid.bounds
    lab.set(decode, Resolution="scale", Scale=2.0)
    decode.UpdateTimeStep(1.0)
    image = decode.GetOutputDataObject(0)
    assert image.GetDimensions() == (32, 24, 20)
    assert image.GetBounds() == pytest.approx(bounds)
    np.testing.assert_array_equal(lab.values(image), archive.decode(1, archive.grid.scaled(2.0)))
    decode.SetResolution("dims")
    decode.SetDimensions(5, 0, 7)
    decode.Update()
    image = decode.GetOutputDataObject(0)
    assert image.GetDimensions() == (5, 12, 7)
    assert image.GetBounds() == pytest.approx(bounds)


def test_a_box_that_was_not_touched_is_the_whole_grid(lab: Any, decode: Any) -> None:
    assert decode.GetBoxRange() == [0.0, 1.0] * 6
    decode.SetUseBox(1)
    decode.Update()
    image = decode.GetOutputDataObject(0)
    assert image.GetExtent() == (0, 15, 0, 11, 0, 9)
    x, y, z = (list(image.GetBounds()[axis : axis + 2]) for axis in (0, 2, 4))
    assert decode.GetBoxRange() == pytest.approx([*x, *x, *y, *y, *z, *z])


def test_a_box_keeps_the_values_inside(lab: Any, decode: Any, archive: Archive) -> None:
    decode.SetUseBox(1)
    decode.SetBox(2.0, 5.0, -1.0, 1.0, 6.9, 15.1)
    decode.Update()
    image = decode.GetOutputDataObject(0)
    assert image.GetExtent() == (2, 8, 4, 11, 2, 6)
    inside = archive.decode(0)[2:7, 4:12, 2:9]
    np.testing.assert_allclose(lab.values(image), inside, atol=1e-6)
    assert image.GetBounds() == pytest.approx((2.0, 5.0, -1.0, 0.75, 7.0, 15.0))
    lab.set(decode, Resolution="dims")
    decode.SetDimensions(4, 4, 4)
    decode.Update()
    image = decode.GetOutputDataObject(0)
    assert image.GetDimensions() == (4, 4, 4), "dims are those of the part"
    assert image.GetBounds() == pytest.approx((2.0, 5.0, -1.0, 0.75, 7.0, 15.0))


def test_only_the_extent_asked_for_is_decoded(lab: Any, decode: Any, archive: Archive) -> None:
    from vtkmodules.vtkImagingCore import vtkExtractVOI

    decode.UpdateInformation()
    extract = vtkExtractVOI()
    extract.SetInputConnection(decode.GetOutputPort())
    extract.SetVOI(3, 6, 2, 4, 5, 5)
    extract.UpdateTimeStep(3.0)
    assert decode.GetOutputDataObject(0).GetExtent() == (3, 6, 2, 4, 5, 5)
    part = archive.decode(3)[5:6, 2:5, 3:7]
    np.testing.assert_allclose(lab.values(extract.GetOutput()), part, atol=1e-6)


def test_pieces_of_several_processes(lab: Any, decode: Any, archive: Archive) -> None:
    whole, seen = archive.decode(0), np.zeros((10, 12, 16), bool)
    decode.UpdateInformation()
    for piece in range(3):
        decode.UpdatePiece(piece, 3, 0)
        image = decode.GetOutputDataObject(0)
        x0, x1, y0, y1, z0, z1 = image.GetExtent()
        place = np.s_[z0 : z1 + 1, y0 : y1 + 1, x0 : x1 + 1]
        np.testing.assert_allclose(lab.values(image), whole[place], atol=1e-6)
        seen[place] = True
        assert image.GetNumberOfPoints() < whole.size
    assert seen.all()


def encode(lab: Any, path: Path, grid: Any, components: int = 1) -> Archive:
    algorithm = lab.set(
        MetaINREncode(), ArchiveFile=str(path), Init="random", Width=8, HiddenLayers=1,
        **lab.quick_encode,
    )  # fmt: skip
    source = lab.source(lab.waves(grid, components))
    lab.connect(algorithm, source, association=int(grid.association == "cell")).Update()
    return Archive.open(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"association": "cell"},
        {"start": (3, -2, 5)},
        {"dims": (16, 12, 1)},
        {"direction": (0, -1, 0, 1, 0, 0, 0, 0, 1), "start": (1, 2, 3)},
    ],
)
@pytest.mark.parametrize("components", [1, 2, 3])
def test_geometry_and_components_come_back(
    lab: Any, tmp_path: Path, changes: dict[str, Any], components: int
) -> None:
    grid = dataclasses.replace(lab.grid, **changes)
    archive = encode(lab, tmp_path / "run.minr", grid, components)
    reader = MetaINRReader()
    reader.SetFileName(str(archive.path))
    reader.UpdateTimeStep(2.5)
    image, original = reader.GetOutputDataObject(0), lab.waves(grid, components)[2]
    assert image.GetExtent() == original.GetExtent()
    assert image.GetBounds() == pytest.approx(original.GetBounds())
    assert image.GetSpacing() == original.GetSpacing()
    assert image.GetOrigin() == original.GetOrigin()
    for row in range(3):
        for column in range(3):
            expected = original.GetDirectionMatrix().GetElement(row, column)
            assert image.GetDirectionMatrix().GetElement(row, column) == expected
    np.testing.assert_array_equal(
        lab.values(image, association=grid.association), archive.decode(2)
    )
    lab.set(reader, Resolution="scale", Scale=2.0)
    reader.Update()
    finer = reader.GetOutputDataObject(0)
    assert finer.GetBounds() == pytest.approx(original.GetBounds())
    assert lab.values(finer, association=grid.association).shape[3] == components


def test_decode_follows_encode(lab: Any, encoded: Any, decode: Any, archive: Archive) -> None:
    decode.UpdateTimeStep(1.0)
    before = lab.values(decode.GetOutputDataObject(0)).copy()
    encoded.SetEpochs(5)
    messages = lab.messages(encoded)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        decode.UpdateTimeStep(1.0)
    (message,) = [m for m in messages if "replacing" in m]
    assert f"{archive.path}: replacing steps 0, 1, 2, 3, made with other settings" in message
    after = lab.values(decode.GetOutputDataObject(0))
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, Archive.open(archive.path).decode(1))


def test_a_cached_step_stays_as_it_is(lab: Any, decode: Any, archive: Archive) -> None:
    import gc

    decode.UpdateTimeStep(0.5)
    decode.GetOutputDataObject(0).GetPointData().RemoveArray("speed")
    decode.UpdateTimeStep(1.0)
    gc.collect()
    decode.UpdateTimeStep(0.5)
    np.testing.assert_array_equal(lab.values(decode.GetOutputDataObject(0)), archive.decode(0))


# Ensembles


@pytest.fixture
def reader(lab: Any, tmp_path: Path) -> Any:
    return lab.set(MetaINRReader(), FileName=str(lab.ensemble(tmp_path / "ensemble.minr")))


def times_of(algorithm: Any) -> tuple[float, ...]:
    algorithm.UpdateInformation()
    return algorithm.GetOutputInformation(0).Get(algorithm.GetExecutive().TIME_STEPS())


def test_a_member_is_chosen_by_name(lab: Any, reader: Any) -> None:
    archive = Archive.open(reader.GetFileName())
    assert reader.GetMembers() == [], "before anything is known"
    assert times_of(reader) == (1, 2, 3), "without a name the first"
    assert reader.GetMembers() == ["a", "b"]
    for member, asked, step in (("", 2, 1), ("b", 2.4, 5), ("a", 2.4, 1), ("b", 9, 6), ("", 9, 2)):
        reader.SetMember(member)
        reader.UpdateTimeStep(asked)
        values = lab.values(reader.GetOutputDataObject(0))
        np.testing.assert_array_equal(values, archive.decode(step))
        assert time_of(reader) == archive.record(step).time
    reader.SetMember("b")
    assert times_of(reader) == lab.times
    assert reader.GetOutputInformation(0).Get(reader.GetExecutive().TIME_RANGE()) == (0.5, 3.0)


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("d", """has no member 'd'; its members: "a", "b", "c\""""),
        ("c", 'holds no step of member "c" yet'),
    ],
)
def test_members_that_cannot_be_shown(lab: Any, reader: Any, member: str, expected: str) -> None:
    reader.Update()
    check_error(lab, lab.set(reader, Member=member), expected)
    reader.SetMember("b")
    reader.Update()
    assert reader.GetOutputDataObject(0).GetNumberOfPoints() > 0


def test_an_archive_of_one_series_has_no_members(lab: Any, decode: Any) -> None:
    decode.Update()
    assert decode.GetMembers() == []
    check_error(lab, lab.set(decode, Member="a"), "run.minr is no ensemble")


def check_error(lab: Any, algorithm: Any, expected: str) -> None:
    messages = lab.messages(algorithm)
    algorithm.Update()
    (message,) = messages
    assert expected in message
    assert message.count("\n") == 1
    image = algorithm.GetOutputDataObject(0)
    assert image.GetNumberOfPoints() == 0
    assert field_text(image, ERROR_ARRAY)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"Resolution": "best"}, "Resolution is 'best'"),
        ({"Resolution": "scale", "Scale": 0.0}, "scale is 0.0"),
        ({"Resolution": "dims", "Dimensions": (4, -1, 4)}, "dims are"),
        ({"UseBox": 1, "Box": (90.0, 91.0, 0.0, 1.0, 0.0, 1.0)}, "holds no value"),
        ({"Device": "tpu"}, "Device is 'tpu'"),
    ],
)
def test_bad_settings(lab: Any, decode: Any, values: dict[str, Any], expected: str) -> None:
    decode.Update()
    assert decode.GetOutputDataObject(0).GetNumberOfPoints() > 0
    check_error(lab, lab.set(decode, **values), expected)


def test_a_table_that_is_not_encodes(lab: Any) -> None:
    from vtkmodules.vtkCommonDataModel import vtkTable

    decode = MetaINRDecode()
    decode.SetInputDataObject(vtkTable())
    check_error(lab, decode, "no table of Meta-INR Encode")


def test_an_encode_that_failed(lab: Any) -> None:
    encode = lab.connect(MetaINREncode(), lab.source())
    lab.messages(encode)
    decode = MetaINRDecode()
    decode.SetInputConnection(encode.GetOutputPort())
    check_error(lab, decode, "Meta-INR Encode, the input, failed")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", "FileName is empty"), ("none.minr", "does not exist"), ("a.vti", "ends in .minr")],
)
def test_files_that_are_no_archive(lab: Any, name: str, expected: str) -> None:
    check_error(lab, lab.set(MetaINRReader(), FileName=name), expected)


def test_a_damaged_step_spoils_only_itself(lab: Any, archive: Archive) -> None:
    path = archive.step_path(1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    reader = lab.set(MetaINRReader(), FileName=str(archive.path))
    messages = lab.messages(reader)
    reader.UpdateTimeStep(1.0)
    assert "sha256" in messages[0]
    assert reader.GetOutputDataObject(0).GetNumberOfPoints() == 0
    reader.UpdateTimeStep(2.5)
    assert len(messages) == 1
    assert time_of(reader) == 2.5
