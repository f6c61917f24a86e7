"""What several rooms of the tests share: data sets, real and made up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from eta.store.store import SqlStore
from support.olist_files import write_olist
from support.postgres import cluster
from support.store import KINDS, Clock, fresh_url, opened_store, require_postgres


@pytest.fixture(scope="session", autouse=True)
def eta_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home folder of commands and services: never that of the user who runs the tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETA_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def eta_data() -> Path:
    """The folder of real data sets, which are never part of the repository."""
    folder = Path(os.environ.get("ETA_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("needs real data sets: set ETA_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 600 made-up orders in Olist's layout; not to be changed."""
    return write_olist(tmp_path_factory.mktemp("orders"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """The address of a PostgreSQL server of our own, started on first use."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(cluster()))


@pytest.fixture(params=KINDS)
def store_url(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]
) -> Iterator[str]:
    """The URL of an empty store, of each kind in turn."""
    if request.param == "postgresql":
        require_postgres()
    with fresh_url(request.param, tmp_path, postgres) as url:
        yield url


@pytest.fixture(params=KINDS[1:])
def durable_url(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]
) -> Iterator[str]:
    """The same of each kind that outlives its process."""
    if request.param == "postgresql":
        require_postgres()
    with fresh_url(request.param, tmp_path, postgres) as url:
        yield url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(store_url: str, clock: Clock) -> Iterator[SqlStore]:
    with opened_store(store_url, clock) as opened:
        yield opened
