"""One base class serves every caller."""

from __future__ import annotations

import inspect

from metainr_core import errors


def test_every_error_has_the_one_base_class() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) >= 7
    bases = (errors.MetaINRError, errors.MetaINRWarning)
    assert all(issubclass(c, bases) and c.__doc__ for c in classes)


def test_damage_is_told_apart_from_clear_messages() -> None:
    assert not issubclass(errors.MetaINRError, errors.DAMAGE)
    for problem in (OverflowError, KeyError, IndexError, UnicodeDecodeError, RecursionError):
        assert issubclass(problem, errors.DAMAGE)
