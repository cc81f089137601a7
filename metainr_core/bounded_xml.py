"""XML headers of data files, read within bounds whatever the file holds.

Only what such headers have: elements and attributes. Document types, and with them entities, are
refused; so are depth, numbers and lengths that no header has, before they take time or memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO
from xml.parsers import expat

Attributes = dict[str, str]

BYTE_ENCODINGS = ("utf-8", "us-ascii", "ascii", "iso-8859-1")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MOST_ELEMENTS = 100_000
_DEEPEST = 32
_CHUNK = 1 << 20
_LONGEST_HEADER = 16 << 20
# Of one tag or comment: a parser looks at it again with every chunk that it gets.
_LONGEST_TAG = 1 << 20


class _EndOfHeader(Exception):
    """Nothing after this is to be parsed."""


def _ignore(*_: object) -> None:
    """No handler."""


class HeaderScan:
    """Calls ``started(name, attributes)`` and ``ended(name)`` for the elements of a file.

    Text in elements ``data`` may have any length: ``text(begin, end)`` gets its first byte and
    the byte after it. All else is at most 16 MiB. What follows the tag of an element ``last`` is
    not looked at.
    """

    def __init__(
        self,
        started: Callable[[str, Attributes], None],
        ended: Callable[[str], None] = _ignore,
        text: Callable[[int, int], None] = _ignore,
        *,
        data: str = "",
        last: str = "",
        encodings: tuple[str, ...] = (*BYTE_ENCODINGS, "utf-16"),
    ):
        self._started, self._ended, self._text = started, ended, text
        self._data, self._last, self._encodings = data, last, encodings
        self._depth = self._elements = self._skipped = 0
        self._end: int | None = None
        # The first byte of the text that the parser is in; -1 before it.
        self._begin: int | None = None
        self._parser: Any = expat.ParserCreate()
        self._parser.StartElementHandler = self._start_tag
        self._parser.EndElementHandler = self._end_tag
        self._parser.XmlDeclHandler = self._declaration
        self._parser.StartDoctypeDeclHandler = self._doctype

    def run(self, file: BinaryIO) -> int | None:
        """The place of the ``last`` element's tag, None without one.

        Raises ValueError with the reason when the file is no such XML, and OSError.
        """
        fed = 0
        try:
            while chunk := file.read(_CHUNK):
                if not fed and "utf-16" not in self._encodings and chunk[:2] in _UTF16_MARKS:
                    raise ValueError("its encoding is UTF-16; expected UTF-8")
                self._parser.Parse(chunk, False)
                fed += len(chunk)
                if fed - max(self._parser.CurrentByteIndex, 0) > _LONGEST_TAG:
                    raise ValueError(f"a tag or comment has more than {_LONGEST_TAG} bytes")
                if self._begin is None and fed - self._skipped > _LONGEST_HEADER + _CHUNK:
                    raise ValueError(f"its header has more than {_LONGEST_HEADER} bytes")
            self._parser.Parse(b"", True)
        except _EndOfHeader:
            pass
        except expat.ExpatError as error:
            raise ValueError(str(error)) from error
        return self._end

    def _start_tag(self, name: str, attributes: Attributes) -> None:
        self._leave_text()
        self._depth += 1
        self._elements += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"its elements are nested more than {_DEEPEST} deep")
        if self._elements > _MOST_ELEMENTS:
            raise ValueError(f"it has more than {_MOST_ELEMENTS} elements")
        self._started(name, attributes)
        if name == self._last:
            self._end = self._parser.CurrentByteIndex
            raise _EndOfHeader
        if name == self._data:
            self._begin = -1
            self._parser.CharacterDataHandler = self._first_text

    def _first_text(self, _text: str) -> None:
        self._begin = self._parser.CurrentByteIndex
        self._parser.CharacterDataHandler = None

    def _leave_text(self) -> None:
        if self._begin is not None:
            place = self._parser.CurrentByteIndex
            begin = place if self._begin < 0 else self._begin
            self._skipped += place - begin
            self._begin = self._parser.CharacterDataHandler = None
            self._text(begin, place)

    def _end_tag(self, name: str) -> None:
        self._leave_text()
        self._depth -= 1
        self._ended(name)

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if (encoding or "utf-8").lower() not in self._encodings:
            raise ValueError(f"its encoding is {encoding!r}; expected UTF-8")

    def _doctype(self, *_: object) -> None:
        raise ValueError("it has a document type declaration, which data files do not have")
