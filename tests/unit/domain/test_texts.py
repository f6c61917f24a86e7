"""Control characters, and bytes of which no two lists of values have the same."""

from __future__ import annotations

import unicodedata
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.domain.texts import (
    canonical_bytes,
    has_control_characters,
    without_control_characters,
)


def test_control_characters_are_those_of_unicode() -> None:
    for number in range(0x3000):
        character = chr(number)
        is_control = unicodedata.category(character) == "Cc"
        assert has_control_characters(f"a{character}b") == is_control
        expected = " " if is_control else character
        assert without_control_characters(f"a{character}b") == f"a{expected}b"


PARTS = st.lists(st.one_of(st.none(), st.integers(), st.text(alphabet='a\x1f,"[]\\0')), max_size=4)


@given(PARTS, PARTS)
def test_other_values_have_other_bytes(
    one: list[str | int | None], other: list[str | int | None]
) -> None:
    assert (canonical_bytes(*one) == canonical_bytes(*other)) == (one == other)


@pytest.mark.parametrize("texts", list(product(("a", "a\x1f", "\x1fa", ""), repeat=2)))
def test_a_separator_in_a_text_moves_no_border(texts: tuple[str, str]) -> None:
    first, second = texts
    assert canonical_bytes(first + "\x1f", second) != canonical_bytes(first, "\x1f" + second)
