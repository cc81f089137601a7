"""A macro of application.py: runs the next piece of Python inside ParaView's window."""

import json
import os
import traceback
from pathlib import Path
from typing import Any

from paraview import servermanager, simple

folder = Path(os.environ["METAINR_GUI_TEST"])
results = folder / "results.jsonl"
done = results.read_text().count("\n") if results.exists() else 0
names: dict[str, Any] = {**vars(simple), "servermanager": servermanager, "result": None}
try:
    exec((folder / f"step_{done}.py").read_text(), names)
    line = json.dumps({"result": names["result"]}, default=str)
except Exception:
    line = json.dumps({"error": traceback.format_exc()})
with results.open("a") as file:
    file.write(line + "\n")
