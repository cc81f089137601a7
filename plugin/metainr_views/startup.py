"""What ParaView's window runs when `metainr paraview` starts it, and then the user's own script."""

import os

from metainr_views import readouts

readouts.follow()

if script := os.environ.pop("METAINR_SCRIPT", ""):
    with open(script, encoding="utf-8") as file:
        exec(compile(file.read(), script, "exec"))
