"""The lines under Expected, in the panels of Pretrain and Encode, follow what is typed.

The server computes them from the settings that were applied, and from those that are edited. It
gets these as JSON through the internal property ``Unapplied``, which changes no result and is in
no state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from paraview import servermanager

FOLLOWED = ("MetaINRPretrain", "MetaINREncode")
UNAPPLIED, ARRAY = "Unapplied", "SelectInputScalars"
_KINDS = ("vtkSMIntVectorProperty", "vtkSMDoubleVectorProperty", "vtkSMStringVectorProperty")
_MARK = "UserEvent"  # nobody invokes it: who observes it has been here


def follow() -> None:
    """Follows all these filters, those that there are and those that will be."""
    manager = servermanager.vtkSMProxyManager.GetProxyManager()
    manager.AddObserver("RegisterEvent", lambda *_: _attach())
    _attach()


def _attach() -> None:
    if servermanager.ActiveConnection is None:  # between two servers
        return
    for source in servermanager.ProxyManager().GetProxiesInGroup("sources").values():
        proxy = source.SMProxy
        if proxy.GetXMLName() not in FOLLOWED or proxy.HasObserver(_MARK):
            continue
        # Without this property: a server with another version of the plugin.
        if proxy.GetProperty(UNAPPLIED):
            _Follower(proxy)


class _Follower:
    """Looks at the settings of one filter, which it does not refer to: filters are deleted."""

    def __init__(self, proxy: Any):
        self.applied = _applied(proxy)
        proxy.AddObserver(_MARK, self.edited)
        for _, prop in _settings(proxy):
            prop.AddObserver("UncheckedPropertyModifiedEvent", self.edited)

    def edited(self, prop: Any, _event: str) -> None:
        proxy = prop.GetParent()
        if proxy is None:
            return
        before, self.applied = self.applied, _applied(proxy)
        # What changes while Apply goes on gets into the Python trace. The lines are new anyway.
        if self.applied == before:
            proxy.GetProperty(UNAPPLIED).SetElement(0, json.dumps(_edited(proxy)))
            proxy.UpdateProperty(UNAPPLIED, True)
            proxy.UpdatePropertyInformation()


def _settings(proxy: Any) -> Iterator[tuple[str, Any]]:
    iterator = servermanager.vtkSMPropertyIterator()
    iterator.SetProxy(proxy)
    iterator.Begin()
    while not iterator.IsAtEnd():
        prop = iterator.GetProperty()
        followed = prop.GetClassName() in _KINDS and not prop.GetIsInternal()
        if followed and not prop.GetInformationOnly():
            yield iterator.GetKey(), prop
        iterator.Next()


def _applied(proxy: Any) -> dict[str, list[Any]]:
    return {
        name: [prop.GetElement(i) for i in range(prop.GetNumberOfElements())]
        for name, prop in _settings(proxy)
    }


def _edited(proxy: Any) -> dict[str, Any]:
    """What the panel shows and is not applied: single values, and association and name of the
    array."""
    found: dict[str, Any] = {}
    for name, prop in _settings(proxy):
        new = [prop.GetUncheckedElement(i) for i in range(prop.GetNumberOfUncheckedElements())]
        if new == [prop.GetElement(i) for i in range(prop.GetNumberOfElements())]:
            continue
        if name == ARRAY:
            found[name] = [int(new[3] or 0), new[4]]
        elif len(new) == 1:
            found[name] = new[0]
    return found
