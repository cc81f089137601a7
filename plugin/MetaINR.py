"""The plugin as one Python file, for Plugin Manager or `LoadPlugin` of ParaView 5.13 and newer.

ParaView collects the proxies of a Python plugin from the attribute `_pvsm_proxy_xml` of what the
module holds. Here that is the XML that every other way of loading uses too. torch comes from the
virtual environment that ParaView was started with: `paraview --venv .venv`.
"""

import sys
from pathlib import Path

paraview_plugin_name = "MetaINR"
paraview_plugin_version = "0.1.0"

_plugin = Path(__file__).resolve().parent
_root = _plugin.parent

# At the end of the path: an installed metainr takes precedence over this source tree.
sys.path += [str(folder) for folder in (_plugin, _root) if str(folder) not in sys.path]


class Proxies:
    """What ParaView looks for; the name does not matter."""

    _pvsm_proxy_xml = (_root / "xml" / "MetaINR.xml").read_text(encoding="utf-8")
