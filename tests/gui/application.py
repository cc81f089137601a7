"""ParaView's own window, driven as a person does: menus, buttons, dialogs; and looked into.

    gui = Application(tmp_path)
    gui.open(path)
    gui.apply()
    names = gui.python("result = [name for name, _ in GetSources()]")
    output = gui.run()
    assert names() == ["run.minr"]

What is to be done is written down first, as events for ParaView's own player (QtTesting), and then
played in one start of the program, because each start takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from tests.hosts import display, require

MACROS = Path(__file__).parent / "macros"
WINDOW = "pqClientMainWindow"
_PAUSE = 0.25  # seconds
PROPERTIES = (
    "propertiesDock/propertiesPanel/scrollArea/qt_scrollarea_viewport/scrollAreaWidgetContents"
    "/PropertiesFrame/ProxyPanel"
)


class Application:
    """One session of ParaView in `folder`, started by `metainr paraview`.

    ``url``: of a pvserver (`cs://localhost:11111`) to connect to; None computes in the window's
    own process. ``command``: what starts ParaView instead of `metainr paraview`.
    ``environment``: variables besides those of this process.
    """

    def __init__(
        self, folder: Path, url: str | None = None, command: Sequence[str] = (), **environment: str
    ):
        require("paraview", "Xvfb")
        self.folder = folder / "gui"
        self.folder.mkdir()
        self.url = url
        self.command = command or (str(Path(sys.executable).with_name("metainr")), "paraview")
        self.environment = environment
        self._events: list[str] = []
        self._steps = 0
        self._results: list[Any] | None = None

    def event(self, target: str, command: str, arguments: object = "") -> None:
        """An event of ParaView's tests; ``target``: names of widgets from the main window on, or
        after a slash from another window on."""
        place = target[1:] if target.startswith("/") else f"{WINDOW}/{target}".rstrip("/")
        target, text = quoteattr(place), quoteattr(str(arguments))
        self._events.append(
            f"<pqevent object={target} command={quoteattr(command)} arguments={text}/>"
        )

    def check(self, target: str, name: str, value: object) -> None:
        """A widget's property has to be this text: ``check("…/Accept", "enabled", "false")``."""
        target, text = quoteattr(f"{WINDOW}/{target}"), quoteattr(str(value))
        self._events.append(
            f"<pqcheck object={target} property={quoteattr(name)} arguments={text}/>"
        )

    def menu(self, name: str, action: str) -> None:
        """Chooses from a menu of the main window: ``menu("Macros", "metainr_plot")``."""
        self.event(f"menubar/menu_{name}", "activate", action)

    def open(self, path: object) -> None:
        """File > Open."""
        self.menu("File", "actionFileOpen")
        self.event("FileOpenDialog", "filesSelected", path)

    def add_filter(self, name: str) -> None:
        """Filters > Meta-INR > the filter with this proxy name, on what is selected."""
        self.event("menubar/menuFilters/Meta-INR", "activate", name)

    def apply(self) -> None:
        self.event("propertiesDock/propertiesPanel/Accept", "activate")

    def fill(self, name: str, path: object) -> None:
        """Types the name of a file into the Properties panel: ``fill("PriorFile", path)``."""
        self.event(f"{PROPERTIES}/{name}/FileChooser/FileLineEdit", "set_string", path)

    def press(self, name: str) -> None:
        """Presses a button of the Properties panel: ``press("Stop")``."""
        self.event(f"{PROPERTIES}/{name}/1QPushButton0", "activate")

    def pause(self, seconds: float) -> None:
        """ParaView runs by itself: timers, live updates, animation."""
        # The player runs timers when an event ends rather than while it lasts.
        for _ in range(max(round(seconds / _PAUSE), 1)):
            self.event("", "pause", round(1000 * _PAUSE))

    def macro(self, name: str) -> None:
        self.menu("Macros", name)

    def python(self, code: str) -> Callable[[], Any]:
        """Runs Python inside the window, with the names of paraview.simple.

        Returns a function that gives what the code left in ``result``, once ``run`` has ended.
        """
        number, self._steps = self._steps, self._steps + 1
        (self.folder / f"step_{number}.py").write_text(textwrap.dedent(code))
        self.macro("gui_step")

        def answer() -> Any:
            assert self._results is not None, "run() comes first"
            return self._results[number]

        return answer

    def run(self, timeout: float = 120) -> str:
        """Plays everything in one start of ParaView. Returns what it printed, which is also what
        its window Output Messages shows. Fails where an event or a piece of Python failed."""
        script = self.folder / "events.xml"
        script.write_text(f'<?xml version="1.0" ?><pqevents>{"".join(self._events)}</pqevents>')
        command = [*self.command, "--dr", f"--test-script={script}", "--exit"]
        if self.url is not None:
            command.append(f"--server-url={self.url}")
        with display() as screen:
            result = subprocess.run(
                command,
                env={
                    **os.environ, "PV_MACRO_PATH": str(MACROS), **self.environment,
                    "DISPLAY": screen, "METAINR_GUI_TEST": str(self.folder),
                },
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
            )  # fmt: skip
        found = self.folder / "results.jsonl"
        lines = [json.loads(x) for x in found.read_text().splitlines()] if found.exists() else []
        for line in lines:
            assert "error" not in line, line["error"]
        self._results = [line["result"] for line in lines]
        assert "Success =  true" in result.stdout, result.stdout
        assert len(lines) == self._steps, result.stdout
        return result.stdout
