"""What several rooms of the tests share: data sets, real and made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from olist_files import write_olist


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
