"""Run by pvpython: can every proxy of the XML be made, with its Python class behind it?

check_proxies.py XML [PLUGIN]; prints the module that each class came from.
"""

import inspect
import sys
from xml.etree import ElementTree

# ParaView 5.11 asks for this function, which Python 3.11 no longer has, to load `.py` plugins.
vars(inspect).setdefault("getargspec", inspect.getfullargspec)

from paraview import servermanager, simple  # noqa: E402

xml, *plugin = sys.argv[1:]
if plugin:
    simple.LoadPlugin(plugin[0], remote=False)

manager = servermanager.ProxyManager().SMProxyManager
proxies = [
    (group.get("name", ""), proxy.get("name", ""), proxy.get("class", ""))
    for group in ElementTree.parse(xml).getroot().iter("ProxyGroup")
    for proxy in group
    if "." in proxy.get("class", "")  # others are bases, or views, which would need a display
]
assert proxies, f"no proxies in {xml}"
for group, name, class_name in proxies:
    proxy = manager.NewProxy(group, name)
    assert proxy is not None, f"ParaView does not know {group}.{name}"
    proxy.UpdateVTKObjects()
    module, _, attribute = class_name.rpartition(".")
    assert hasattr(sys.modules[module], attribute), f"{class_name} was not imported"
    print(name, getattr(sys.modules[module], "__file__", None))
