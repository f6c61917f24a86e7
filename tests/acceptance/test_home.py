"""Files that nothing names lie in one home folder, and commands say where."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from eta.api.app import from_environment
from eta.model.registry import Registry
from support.cli import CommandResult, run_in
from support.olist_files import ORDERS, write_olist

pytestmark = pytest.mark.xdist_group("home")
ROOT = Path(__file__).parents[2]


def eta(folder: Path, *arguments: object, **env: str) -> CommandResult:
    """Runs the program in a folder, in an environment without other settings of ours."""
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("ETA_", "XDG_"))]:
            patch.delenv(name)
        return run_in(folder, *arguments, **env)


def using(ran: CommandResult) -> list[str]:
    """The lines on standard error that name paths."""
    return [line for line in ran.err.splitlines() if line.startswith("using ")]


@pytest.fixture(scope="module")
def parcels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of simulated parcels; not to be changed."""
    folder = tmp_path_factory.mktemp("parcels") / "data"
    ran = eta(folder.parent, "simulate", folder, "--shipments", 200)
    assert ran.status == 0, ran.err
    return folder


def test_the_home_is_the_users_data_folder_by_default(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("names the data folder of Linux")
    ran = eta(tmp_path / "work", "models", "list", XDG_DATA_HOME=str(tmp_path / "share"))
    assert using(ran) == [f"using models in {tmp_path}/share/eta/models"]
    without = eta(tmp_path / "work", "models", "list", XDG_DATA_HOME="", HOME=str(tmp_path))
    assert using(without) == [f"using models in {tmp_path}/.local/share/eta/models"]
    empty = eta(tmp_path / "work", "models", "list", ETA_HOME="", HOME=str(tmp_path))
    assert using(empty)[0].startswith(f"using models in {tmp_path}/")


@pytest.mark.parametrize("home", ["home", "~/home", "../elsewhere/home"])
def test_a_home_that_is_not_absolute_is_understood(tmp_path: Path, home: str) -> None:
    ran = eta(tmp_path / "work", "models", "list", ETA_HOME=home, HOME=str(tmp_path))
    (line,) = using(ran)
    assert line.endswith("home/models")
    assert line.startswith("using models in /")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("models list", "using models in HOME/models"),
        ("models promote newest", "using models in HOME/models"),
        ("models rollback", "using models in HOME/models"),
        ("train DATA --as-of 1990-01-01", "using models in HOME/models"),
        ("update DATA", "using models in HOME/models"),
        ("score DATA --as-of 2025-11-27 --model x", "using models in HOME/models"),
        ("ingest DATA", "using models in HOME/models, store in HOME/eta.sqlite"),
        ("export OUT", "using store in HOME/eta.sqlite"),
        ("backup FILE", "using store in HOME/eta.sqlite"),
        ("restore FILE", "using store in HOME/eta.sqlite"),
        ("erase A-1", "using store in HOME/eta.sqlite"),
    ],
)
def test_a_command_says_what_it_uses_in_one_line(
    parcels: Path, tmp_path: Path, command: str, line: str
) -> None:
    places = {"DATA": str(parcels), "OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "all")}
    arguments = [places.get(word, word) for word in command.split()]
    ran = eta(tmp_path / "work", *arguments, ETA_HOME=str(tmp_path / "home"))
    assert using(ran) == [line.replace("HOME", str(tmp_path / "home"))]
    assert list((tmp_path / "work").iterdir()) == []


def test_training_from_the_store_names_both_places(tmp_path: Path) -> None:
    ran = eta(
        tmp_path / "work", "train", "store:", "--all-tenants", ETA_HOME=str(tmp_path / "home")
    )
    assert using(ran) == [
        f"using models in {tmp_path}/home/models",
        f"using store in {tmp_path}/home/eta.sqlite",
    ]


def test_other_settings_name_other_places(parcels: Path, tmp_path: Path) -> None:
    env = {
        "ETA_HOME": str(tmp_path / "home"),
        "ETA_MODELS": str(tmp_path / "registry"),
        "ETA_DATABASE_URL": f"sqlite:{tmp_path / 'db' / 'all.sqlite'}",
    }
    ran = eta(tmp_path / "work", "ingest", parcels, **env)
    assert ran.status == 0, ran.err
    assert using(ran) == [f"using models in {tmp_path}/registry, store in {tmp_path}/db/all.sqlite"]
    assert not (tmp_path / "home").exists()
    assert (tmp_path / "db" / "all.sqlite").is_file()


def test_the_password_of_a_database_is_not_printed(tmp_path: Path) -> None:
    url = "postgresql://shop:hunter2@127.0.0.1:1/none?connect_timeout=1"
    ran = eta(tmp_path, "export", "out", ETA_DATABASE_URL=url)
    assert using(ran) == ["using store in the PostgreSQL database of ETA_DATABASE_URL"]
    assert "hunter2" not in ran.out + ran.err


def test_rejected_rows_lie_in_the_home_unless_a_file_is_named(tmp_path: Path) -> None:
    orders = write_olist(tmp_path / "orders")
    with (orders / ORDERS).open("a", encoding="utf-8") as file:
        file.write("half a line\n")
    command = (
        "backtest",
        orders,
        "--source",
        "olist",
        "--from",
        "2010-01-01",
        "--to",
        "2010-01-01",
    )
    ran = eta(tmp_path / "work", *command, ETA_HOME=str(tmp_path / "home"))
    assert (tmp_path / "home" / "quarantine.csv").is_file()
    assert f"{tmp_path}/home/quarantine.csv" in "".join(ran.err.split("\n"))
    eta(tmp_path / "work", *command, "--quarantine", "mine.csv", ETA_HOME=str(tmp_path / "home"))
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["mine.csv"]


def test_the_service_logs_where_its_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ETA_HOME", str(tmp_path))
    monkeypatch.setenv("ETA_DEMO", "1")
    Registry(tmp_path / "models")
    with caplog.at_level("INFO", logger="eta"), TestClient(from_environment()):
        pass
    (record,) = [entry for entry in caplog.records if entry.message == "started"]
    assert record.__dict__["models"] == str(tmp_path / "models")
    assert record.__dict__["store"] == str(tmp_path / "eta.sqlite")


def make(folder: Path, command: str, **env: str) -> str:
    """What a command prints in a target of ours, in an environment with these settings alone."""
    names = ("ETA_HOME", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    others = {name: value for name, value in os.environ.items() if name not in names}
    printed = subprocess.run(
        ["make", "-s", "-f", ROOT / "Makefile", "-f", "-", "print"],  # noqa: S607  # as a user
        cwd=folder,
        env={**others, **env},
        input=f"print:\n\t@{command}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return printed.stdout.strip()


def test_make_targets_use_the_checkout(tmp_path: Path) -> None:
    assert make(tmp_path, "echo $$ETA_HOME") == str(tmp_path)
    assert make(tmp_path, "echo $$ETA_HOME", ETA_HOME="/srv/eta") == "/srv/eta"


@pytest.mark.parametrize("name", ["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_set_up_trusts_the_certificates_of_the_system(tmp_path: Path, name: str) -> None:
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    command = "echo $$UV_SYSTEM_CERTS $$PIP_CERT"
    assert make(tmp_path, command).split() == ["true", *([str(bundle)] if bundle.exists() else [])]
    # What the user has chosen comes first.
    assert make(tmp_path, command, **{name: "/mine.pem"}) == "true /mine.pem"
    assert make(tmp_path, "echo $$UV_SYSTEM_CERTS", UV_SYSTEM_CERTS="false") == "false"


def test_the_set_up_says_what_each_step_does_and_how_much_it_takes() -> None:
    planned = subprocess.run(
        ["make", "-n", "-B", "demo"],  # noqa: S607  # as a user
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    steps = re.findall(r"^echo '(.*)'$", planned.stdout, flags=re.MULTILINE)
    assert [step[:3] for step in steps[:4]] == ["1/4", "2/4", "3/4", "4/4"]
    assert "1.2 GB" in steps[2]
    assert "the next time" in steps[-1]
