"""The ``metainr`` command, from its start to its exit code.

Little is imported here, so that Ctrl-C is answered from the start; ``commands`` does the work.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from .errors import Cancelled, MetaINRError, one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0, 2 for bad input, 130 when interrupted.

    ``verify`` has 1 for an archive that is not what it says.
    """
    before = signal.signal(signal.SIGINT, _stop)
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, _stop)
        print("metainr: stopped", file=sys.stderr)
        return 130
    finally:
        # As a program of its own it has no use for another answer until it ends.
        if arguments is not None:
            signal.signal(signal.SIGINT, before)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """While nothing is under way. An exception may be lost inside an import, or be shown whole."""
    os.write(2, b"metainr: stopped\n")
    os._exit(130)


def _run(arguments: list[str]) -> int:
    from .launch import PROGRAMS

    try:
        if arguments and arguments[0] in PROGRAMS:
            from .launch import main as launch

            return launch(arguments[0], arguments[1:])
        import warnings

        # Takes long, so before the progress bar, which answers Ctrl-C only between pieces of work.
        import torch  # noqa: F401

        from .commands import make_parser
        from .flags import expand_home
        from .progress_bar import ProgressBar
        from .report import check_json_file, print_report
        from .vtk_modules import quieten

        options = make_parser().parse_args(arguments)
        expand_home(options)
        outputs = [getattr(options, name, None) for name in ("output", "png")]
        check_json_file(options.json, [name for name in outputs if name])
        quieten()
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        with ProgressBar(options.resumes) as progress:
            report = options.run(options, progress)
        print_report(report, options.json, options.table)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough, as in `metainr info run.minr | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Cancelled as error:
        print(f"metainr: stopped: {error}", file=sys.stderr)
        return 130
    except MetaINRError as error:
        print(f"metainr: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        # PyTorch's error of a GPU without room is a RuntimeError, and not imported here.
        if not isinstance(error, MemoryError) and "out of memory" not in str(error):
            raise
        first = (str(error) or "of this machine").splitlines()[0]
        print(f"metainr: error: not enough memory: {first}", file=sys.stderr)
        return 2
    return 0 if report.get("ok", True) else 1


def _show_warning(message: Warning | str, *_: Any) -> None:
    """In one line, without the place in the code."""
    print(f"metainr: {one_line(str(message))}", file=sys.stderr)
