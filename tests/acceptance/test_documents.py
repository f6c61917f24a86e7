"""Command lines, values and times in the documents and in the help are those that work."""

import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from eta import bootstrap, settings
from eta.api.schemas.fields import UtcDatetime
from eta.calendars.holidays import HolidayCalendar
from eta.cli.times import parse_instant
from eta.configuration import PromiseConfiguration
from support.cli import CommandResult, run_in
from support.documents import (
    DOCUMENTS,
    ROOT,
    CommandLine,
    blocks,
    command_lines,
    help_examples,
    leaf_commands,
    parse,
    shell_lines,
)

pytestmark = pytest.mark.xdist_group("documents")
COMMAND_LINES = command_lines()
EXAMPLES = help_examples()
#: The order in which a reader could run the examples, each after what it needs.
ORDER = (
    "simulate",
    "train",
    "models promote",
    "models list",
    "models show",
    "models compare",
    "update",
    "models rollback",
    "score",
    "backtest",
    "promise simulate",
    "ingest",
    "export",
    "backup",
    "restore",
    "erase",
    "repair",
    "key",
)
#: Examples that other tests run: as a server, and as the README's first command.
RUN_ELSEWHERE = ("serve", "demo")
TIME = re.compile(r"\b\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d[\d:.,]*(?:[Zz]|[+-]\d\d:?\d\d)?)?")


def folder_of_demo(folder: Path) -> Path:
    """A home folder with parcels where `eta demo` puts them."""
    ran = run_in(folder, "simulate", "models/demo", "--shipments", 1500, ETA_HOME=str(folder))
    assert ran.status == 0, ran.err
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_demo(tmp_path_factory.mktemp("documents"))


@pytest.mark.parametrize("line", COMMAND_LINES, ids=lambda line: f"{line.where}: {line.text}")
def test_a_command_line_is_one_that_the_program_takes(line: CommandLine) -> None:
    parse(line.arguments)


def test_the_documents_name_enough_command_lines() -> None:
    assert len(COMMAND_LINES) > 60


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_help_of_a_command_ends_with_an_example(command: str) -> None:
    example = EXAMPLES[command]
    assert example.startswith(command)
    parse(CommandLine("help", example).arguments)
    # It is not broken into two lines, so that it can be copied.
    assert len(f" Example: {example}") < 80
    ran = run_in(ROOT, *command.split()[1:], "--help")
    assert ran.out.rstrip().endswith(f"Example: {example}")


def test_the_help_lists_commands_by_user_in_the_order_of_first_use() -> None:
    lines = run_in(ROOT, "--help").out.splitlines()
    headings = [match[1] for line in lines if (match := re.match(r"╭─ ([\w ]+?) ─", line))]
    users = ["First look", "Checkout and notifier", "Analysts", "Operations"]
    assert headings == ["Options", *users]
    names = {path.split()[1] for path, _ in leaf_commands()}
    listed = [line.split()[1] for line in lines if line.startswith("│ ")]
    assert names == set(listed) - {"--version", "--help"}


def run_examples(home: Path, commands: tuple[str, ...]) -> dict[str, CommandResult]:
    results = {}
    for command in commands:
        words = CommandLine("help", EXAMPLES[f"eta {command}"]).arguments
        # A copy is restored into an empty store.
        store = "restored" if command == "restore" else "eta"
        url = f"sqlite:{home / store}.sqlite"
        results[command] = run_in(home, *words, ETA_HOME=str(home), ETA_DATABASE_URL=url)
    return results


@pytest.mark.timeout(1_500)
def test_the_examples_of_the_help_run_one_after_another(home: Path) -> None:
    assert {*ORDER, *RUN_ELSEWHERE} == {name.removeprefix("eta ") for name in EXAMPLES}
    results = run_examples(home, ORDER)
    failed = {name: ran.err for name, ran in results.items() if ran.status}
    assert not failed
    assert (home / "flags.csv").is_file()
    assert (home / "exported" / "events.parquet").is_file()


@pytest.mark.timeout(1_500)
def test_the_commands_of_the_reference_run(home: Path, orders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(home, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sqlite*"))
    lines = [line for line in shell_lines(ROOT / "docs" / "commands.md") if "eta " in line]
    assert len(lines) == 13
    for line in lines:
        data = orders if "--source olist" in line else folder / "models" / "demo"
        words = line.replace("$ETA_DATA/olist", "DATA").split()[1:]
        if words[0] in ("demo", "serve", "simulate"):
            continue
        arguments = [str(data) if word == "DATA" else word for word in words]
        if "olist" in words:
            # Few orders are made up, and few days of them are enough.
            arguments += ["--from", "2018-03-01", "--to", "2018-03-05"] * ("--from" in words)
        ran = run_in(folder, *arguments, ETA_HOME=str(folder))
        assert ran.status == 0, f"{line}: {ran.err}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_time_in_a_document_can_be_read(document: Path) -> None:
    # A time of day without an offset is one of a place; JSON names such fields.
    for text in TIME.findall(document.read_text(encoding="utf-8")):
        has_time = len(text) > len("2018-05-15")
        has_offset = bool(re.search(r"([Zz]|[+-]\d\d:?\d\d)$", text[10:]))
        moment = parse_instant(text if has_offset or not has_time else f"{text}Z", "UTC")
        if has_time and re.fullmatch(r".{10}T\d\d:\d\d:\d\d\S*(Z|[+-]\d\d:\d\d)", text):
            assert TypeAdapter(UtcDatetime).validate_python(text) == moment


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_and_make_targets_in_a_document_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    names = set(re.findall(r"\b(ETA_[A-Z_]+)\b", text))
    assert names <= {*settings.SETTING_DESCRIPTIONS}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    lines = [re.match(r"make (\w+)", line) for line in shell_lines(document)]
    assert {match[1] for match in lines if match} <= targets
    assert set(re.findall(r"`make (\w+)", text)) <= targets


def test_values_of_options_in_the_documents_exist() -> None:
    for line in COMMAND_LINES:
        words = line.arguments
        values = dict(pairwise(words))
        assert values.get("--source", "tabular") in bootstrap.SOURCES
        assert {*values.get("--models", "eta").split(",")} <= set(bootstrap.models({}))
        for option in ("--as-of", "--from", "--to"):
            parse_instant(values.get(option, "2018-05-15"), "UTC")


def test_the_configuration_files_of_the_documents_are_read() -> None:
    calendar, *policies = blocks(ROOT / "docs" / "operations.md", "toml")
    HolidayCalendar.from_toml(calendar)
    assert len(policies) == 2
    for policy in policies:
        assert PromiseConfiguration.from_toml(policy).policy.version
