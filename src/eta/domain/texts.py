"""Texts that come from outside: control characters, and the bytes from which a hash is made."""

from __future__ import annotations

import json
import re

#: A pattern of Unicode's control characters, such as a unit separator (category Cc).
CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f]"
_CONTROL_CHARACTERS = re.compile(CONTROL_CHARACTERS)


def has_control_characters(text: str) -> bool:
    """Whether a text holds a control character; an identifier must not."""
    return _CONTROL_CHARACTERS.search(text) is not None


def without_control_characters(text: str) -> str:
    """A free text with a blank in place of each control character."""
    return _CONTROL_CHARACTERS.sub(" ", text)


def canonical_bytes(*parts: str | int | None) -> bytes:
    """The bytes of a list of values, as a JSON array: other values have other bytes."""
    return json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()
