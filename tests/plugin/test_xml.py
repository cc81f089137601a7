"""The XML says the same as the filter classes and the settings, and documents all of it."""

from __future__ import annotations

import dataclasses
import re
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from metainr_core import config
from metainr_core.config import EncodeConfig, PretrainConfig
from metainr_core.layout import BITS

pytest.importorskip("vtkmodules")
from metainr_paraview.properties import is_set, property_name
from vtkmodules.vtkCommonDataModel import vtkDataObject

XML = Path(__file__).parents[2] / "xml" / "MetaINR.xml"
ROOT = ElementTree.parse(XML).getroot()
BASES = "internal_metainr"
SHOWN = "representations", "views"  # how ParaView shows outputs: no classes of ours


def resolved(proxy: ElementTree.Element) -> ElementTree.Element:
    """The proxy with what it inherits, merged as ParaView's definition manager does it."""
    base_name = proxy.get("base_proxyname")
    if base_name is None:
        return proxy
    assert proxy.get("base_proxygroup") == BASES
    named = ROOT.find(f"ProxyGroup[@name='{BASES}']/SourceProxy[@name='{base_name}']")
    assert named is not None, f"no {base_name} in {BASES}"
    base = resolved(named)
    whole = ElementTree.Element(proxy.tag, {**base.attrib, **proxy.attrib})
    whole.extend(child for child in base if child.tag != "Documentation")
    for child in proxy:
        same = whole.find(f"{child.tag}[@name='{child.get('name')}']")
        if same is None:
            whole.append(child)
        else:
            assert child.get("override") == "1", f"{child.get('name')} is also the base's"
            whole[list(whole).index(same)] = child
    return whole


PROXIES = {
    proxy.get("name", ""): resolved(proxy)
    for group in ROOT.iterfind("ProxyGroup")
    if group.get("name") not in (BASES, *SHOWN)
    for proxy in group
}
STAGES = {"MetaINRPretrain": PretrainConfig, "MetaINREncode": EncodeConfig}
# Not passed to the filter classes by their own setters.
VTK_COMMANDS = {"SetInputConnection", "SetInputArrayToProcess", "Modified", "Stop"}


def class_of(proxy: ElementTree.Element) -> Any:
    module, _, name = proxy.get("class", "").rpartition(".")
    return getattr(import_module(module), name)


def properties_of(name: str) -> list[ElementTree.Element]:
    return [element for element in PROXIES[name] if element.tag.endswith("Property")]


def text_of(element: ElementTree.Element) -> str:
    return " ".join(element.findtext("Documentation", "").split())


def python_name(element: ElementTree.Element) -> str:
    return element.get("label", element.get("name", "")).replace(" ", "")


ALL = [
    pytest.param(name, element, id=f"{name}-{element.get('name')}")
    for name in PROXIES
    for element in properties_of(name)
]


def test_the_proxies_have_the_agreed_names() -> None:
    labels = {name: proxy.get("label", "") for name, proxy in PROXIES.items()}
    assert set(labels) >= {"MetaINRPretrain", "MetaINREncode", "MetaINRDecode", "MetaINRReader"}
    for name, label in labels.items():
        assert label.replace("-", "").replace(" ", "") == name
        assert class_of(PROXIES[name]).label == label


FILES = {
    "MetaINRReader": ("ReaderFactory", "minr"),
    "MetaINRFlatReader": ("ReaderFactory", "minr"),
    "MetaINRPriorReader": ("ReaderFactory", "safetensors"),
    "MetaINRWriter": ("WriterFactory", "minr"),
}


@pytest.mark.parametrize("name", PROXIES)
def test_filters_are_in_a_menu_and_files_have_their_proxies(name: str) -> None:
    hints = PROXIES[name].findall("Hints")
    assert len(hints) == 1, "ParaView sees only the first"
    if name in FILES:
        factory, extension = FILES[name]
        assert hints[0].find(f"{factory}[@extensions='{extension}']") is not None
    else:
        assert hints[0].find("ShowInMenu[@category='Meta-INR']") is not None


@pytest.mark.parametrize(("name", "element"), ALL)
def test_every_property_is_documented(name: str, element: ElementTree.Element) -> None:
    assert len(text_of(element)) > 15
    assert text_of(element).endswith(".")


def panel(name: str, *, advanced: bool = True) -> dict[str, list[str]]:
    """Groups and their properties from top to bottom, as ParaView's panel shows them: in the order
    of the properties, but all of a group where its first one stands, seen or not."""
    groups: dict[str, str] = {}
    for group in PROXIES[name].iterfind("PropertyGroup"):
        groups |= {p.get("name", ""): group.get("label", "") for p in group}
    result: dict[str, list[str]] = {}
    for element in properties_of(name):
        seen = "never" if element.get("information_only") else "default"
        seen = element.get("panel_visibility", seen)
        rows = result.setdefault(groups.get(element.get("name", ""), ""), [])
        if element.tag != "InputProperty" and seen in ("default", *["advanced"][:advanced]):
            rows.append(element.get("name", ""))
    return {label: rows for label, rows in result.items() if rows}


@pytest.mark.parametrize("name", PROXIES)
def test_every_property_that_is_seen_is_in_a_group(name: str) -> None:
    assert "" not in panel(name)
    names = {element.get("name") for element in properties_of(name)}
    grouped = [p.get("name") for p in PROXIES[name].iterfind("PropertyGroup/Property")]
    assert set(grouped) <= names
    assert len(grouped) == len(set(grouped))


def test_the_panels_begin_with_what_most_people_need() -> None:
    expected = ["Networks", "Parameters", "EachStep", "RunsOn"]
    assert panel("MetaINRPretrain", advanced=False) == {
        "Data": ["SelectInputScalars"],
        "Output": ["PriorFile"],
        "Expected": expected,
        "Network": ["Preset", "Width", "TargetRatio"],
        "Training": ["OuterSteps"],
        "Run": ["RunAgain", "Stop"],
    }
    assert panel("MetaINREncode", advanced=False) == {
        "Data": ["SelectInputScalars"],
        "Output": ["ArchiveFile"],
        "Start": ["PriorFile", "Init", "KeyInterval"],
        "Expected": expected,
        "Network": ["Preset", "Width"],
        "Size and Quality": ["TargetRatio", "TargetPSNR", "MaxError"],
        "Training": ["Epochs"],
        "Run": ["RunAgain", "Stop"],
    }
    for name in STAGES:
        assert list(panel(name)) == [*list(panel(name, advanced=False))[:-1], "Computation", "Run"]


@pytest.mark.parametrize(("name", "element"), ALL)
def test_what_is_only_shown_comes_from_the_class(name: str, element: ElementTree.Element) -> None:
    if element.get("information_only") and element.get("command"):
        assert callable(getattr(class_of(PROXIES[name]), element.get("command", "")))


@pytest.mark.parametrize("name", PROXIES)
def test_the_class_has_these_properties_and_defaults(name: str) -> None:
    defaults = dict(class_of(PROXIES[name]).property_defaults)
    for element in properties_of(name):
        command = element.get("command", "")
        if element.get("information_only") or command in VTK_COMMANDS:
            continue
        if element.get("is_internal"):
            assert callable(getattr(class_of(PROXIES[name]), command))
            continue
        default = defaults.pop(python_name(element))
        if element.get("repeat_command"):  # a list, set element by element, of any length
            assert f"{command}s" == "Set" + python_name(element)
            length = "SetNumberOf" + python_name(element)
            assert element.get("set_number_command") == length
            assert all(hasattr(class_of(PROXIES[name]), c) for c in (command, length))
            assert (default, element.get("default_values")) == ((), None)
            continue
        assert command == "Set" + python_name(element)
        elements = default if isinstance(default, tuple) else (default,)
        kinds = {str: "StringVectorProperty", float: "DoubleVectorProperty"}
        assert element.tag == kinds.get(type(elements[0]), "IntVectorProperty")
        assert element.get("number_of_elements") == str(len(elements))
        given = element.get("default_values", "")
        found = [given] if isinstance(default, str) else given.split()
        assert [type(d)(f) for d, f in zip(elements, found, strict=True)] == list(elements)
    assert not defaults, "properties of the class that the XML lacks"


@pytest.mark.parametrize("name", STAGES)
def test_values_that_no_preset_has_are_the_settings_defaults(name: str) -> None:
    elements = {python_name(element): element for element in properties_of(name)}
    for field in dataclasses.fields(STAGES[name]):
        if field.name == "siren":
            continue
        given = elements[property_name(field.name)].get("default_values", "")
        kind: Any = type(field.default)
        value = kind(given) if given != "preset" else given
        assert not is_set(value) or value == field.default


@pytest.mark.parametrize("name", STAGES)
def test_the_text_tells_what_the_presets_hold(name: str) -> None:
    stage: Any = STAGES[name]
    default, paper = stage(), stage.preset("paper")
    elements = {python_name(element): element for element in properties_of(name)}
    checked = 0
    for field in dataclasses.fields(stage):
        element = elements.get(property_name(field.name))
        if element is None or element.get("default_values") not in ("-1", "preset"):
            continue
        if field.default == -1:  # to be chosen, whatever the preset
            continue
        said = re.search(
            r"(?:-1|preset): ([\w.-]+?)(?: \(paper: ([\w.-]+)\))?\.$", text_of(element)
        )
        assert said, text_of(element)
        values = getattr(default, field.name), getattr(paper, field.name)
        # Texts give numbers like 1/128 in two digits.
        close = [type(values[0])(found or said[1]) for found in said.groups()]
        if isinstance(values[0], float):
            assert close == pytest.approx(values, rel=0.02), text_of(element)
        else:
            assert tuple(close) == values, text_of(element)
        checked += 1
    assert checked > 4


@pytest.mark.parametrize("name", STAGES)
def test_the_text_tells_which_network_is_chosen(name: str) -> None:
    from metainr_core.grid import Grid
    from metainr_core.layout import choose_siren

    elements = {python_name(element): element for element in properties_of(name)}
    whole, bricks = choose_siren(Grid((64, 64, 64))), choose_siren(Grid((256, 256, 256)))
    for field in ("width", "hidden_layers", "omega_0"):
        a, b, c = (f"{getattr(s, field):g}" for s in (whole, bricks, config.PAPER_SIREN))
        text = text_of(elements[property_name(field)])
        assert f"-1: {a} for a whole volume, {b} with bricks (paper: {c})" in text
    assert f"(paper: {config.PAPER_SIREN.brick_size})" in text_of(elements["BrickSize"])


def test_the_text_tells_what_a_ratio_counts() -> None:
    elements = {python_name(element): element for element in properties_of("MetaINRPretrain")}
    text = text_of(elements["TargetRatio"])
    assert f"at {BITS['coded']} bits per weight (paper: {BITS['float32']})" in text


def test_the_text_tells_what_encode_chooses() -> None:
    elements = {python_name(element): element for element in properties_of("MetaINREncode")}
    whole, bricks = EncodeConfig().resolved(1, 100), EncodeConfig().resolved(8, 20)
    warm = EncodeConfig().resolved(1, 100, warm=True)
    times, size = whole.batch_size // 100, bricks.batch_size
    text = text_of(elements["BatchSize"])
    assert f"0: {times} times the width for a whole volume, {size} with bricks." in text
    rates = [float(r) for r in re.findall(r"0\.\d+", text_of(elements["LearningRate"]))]
    assert rates == [whole.learning_rate, bricks.learning_rate, warm.learning_rate]
    assert f"takes {config.KEY_EPOCHS} times the passes" in text_of(elements["Init"])


@pytest.mark.parametrize(("name", "element"), ALL)
def test_lists_offer_what_the_settings_accept(name: str, element: ElementTree.Element) -> None:
    listed = [s.get("value", "") for s in element.iterfind("StringListDomain/String")]
    if not listed:
        return
    own = python_name(element)
    assert element.get("default_values") in listed
    if own == "Preset":
        assert listed == list(config.PRESETS)
    elif name in STAGES:
        field = next(f for f in dataclasses.fields(STAGES[name]) if property_name(f.name) == own)
        # fomaml and maml need an outer learning rate.
        more = {"outer_learning_rate": 1e-3} if own == "Outer" else {}
        for value in set(listed) - {"preset"}:
            STAGES[name](**{field.name: value}, **more)


def test_curves_show_rows_also_while_there_are_none() -> None:
    """ParaView's own choice, made once, is field data while a table is empty or has failed."""
    curves = [c for c in ROOT.iter("ChartRepresentationProxy") if "INR" in c.get("name", "")]
    assert len(curves) == 2
    for representation in curves:
        (kind,) = (p for p in representation if p.get("name") == "AttributeType")
        assert kind.get("default_values") == str(vtkDataObject.ROW)
        assert [e.get("value") for e in kind.iter("Entry")] == [str(vtkDataObject.ROW)]
