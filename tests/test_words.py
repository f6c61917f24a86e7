"""Identifiers, file names and JSON keys use the field's terms; prose hardly uses any others."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = frozenset(
    ["told", "asked", "said", "kept", "habit", "habits", "law", "laws", "usual", "mend", "anew"]
)
#: How often prose may use them, as the plain words that they also are.
MAX_IN_PROSE = 40
FOLDERS = ("src", "tests", "training", "notebooks")
#: This file lists the words.
HERE = Path(__file__)


def words(name: str) -> set[str]:
    """The words of an identifier, split at underscores and capitals."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def files(*suffixes: str) -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    written = [path for path in found if "__pycache__" not in path.parts and path != HERE]
    return [path for path in written if not suffixes or path.suffix in suffixes]


def identifiers(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        # Keys of dicts, names of columns: strings that look like an identifier.
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"[A-Za-z]+(_[A-Za-z0-9]+)+", text):
            yield text
        if isinstance(node, ast.Dict):
            yield from (
                key.value
                for key in node.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from keys_of(part)
    if isinstance(value, list):
        for part in value:
            yield from keys_of(part)


def code_of(path: Path) -> str:
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def is_law_of_a_property_test(path: Path, name: str) -> bool:
    return "property" in path.parts and name.startswith("test_") and words(name) & BANNED == {"law"}


def test_file_names_are_the_fields_terms() -> None:
    assert not [str(path.relative_to(ROOT)) for path in files() if words(path.stem) & BANNED]


def test_identifiers_are_the_fields_terms() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(".py", ".ipynb")
        for name in identifiers(code_of(path))
        if words(name) & BANNED and not is_law_of_a_property_test(path, name)
    }
    assert not sorted(wrong)


def test_json_keys_are_the_fields_terms() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {key}"
        for path in files(".json")
        for key in keys_of(json.loads(path.read_text(encoding="utf-8")))
        if words(key) & BANNED
    }
    assert not sorted(wrong)


def test_prose_hardly_uses_other_words() -> None:
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    prose = [*documents, *(ROOT / "src").rglob("*.py")]
    pattern = re.compile(rf"\b({'|'.join(sorted(BANNED))})\b", flags=re.IGNORECASE)
    uses = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in prose
        for line in path.read_text(encoding="utf-8").splitlines()
        for _ in pattern.findall(line)
    ]
    assert len(uses) <= MAX_IN_PROSE, "\n".join(uses)
