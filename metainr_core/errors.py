"""The errors of this package: one base class, one line each.

A message says what is wrong, where, what was found, what was expected and what to do about it.
"""

from __future__ import annotations

# What fits on a screen: names in a file can be longer than any. Reasons come last.
_LONGEST = 2000


def one_line(text: str) -> str:
    """``text`` without what a terminal acts on: line breaks and control characters, as escapes."""
    text = _shortened(text)
    return text if text.isprintable() else _shortened("".join(map(_visible, text)))


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


class MetaINRError(Exception):
    """Base class of every error that bad input or a bad environment can cause.

    As text it is one line, whatever names it quotes from files.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class MetaINRWarning(UserWarning):
    """What works, but not as it could: shown, by ``warnings``, and the work goes on."""


class SettingsError(MetaINRError):
    """A setting is out of its range, or two settings contradict each other."""


class SeriesError(MetaINRError):
    """A time series cannot be read, or its steps do not fit together."""


class PriorError(MetaINRError):
    """A prior file cannot be read, or does not fit the series or the network."""


class ArchiveError(MetaINRError):
    """A ``.minr`` archive cannot be read or written, or holds another series."""


class DeviceError(MetaINRError):
    """The device or precision asked for is not there."""


class LaunchError(MetaINRError):
    """ParaView cannot be found or cannot use this Python environment."""


class RenderingError(MetaINRError):
    """Nothing can be drawn here: no display, or no VTK that draws."""


class LpipsError(MetaINRError):
    """LPIPS cannot be computed here: a package or the backbone's weights are missing."""


DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading a damaged description can raise."""


class Cancelled(MetaINRError):
    """Raised by a progress callback to stop a computation; what is finished is kept."""
