"""Optional packages."""

from __future__ import annotations

import json

import pytest

from metainr_core.errors import MetaINRError
from metainr_core.extras import extra


def test_what_is_there_and_what_is_not() -> None:
    assert extra("json", "this test") is json
    with pytest.raises(
        MetaINRError, match=r"t-SNE needs nothing_of_the_kind.*metainr\[compare\]"
    ) as e:
        extra("nothing_of_the_kind.manifold", "t-SNE")
    assert "\n" not in str(e.value)
