"""No message repeats a password of ``ETA_DATABASE_URL``."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime

import pytest

from eta.domain.errors import EtaError
from eta.settings import Settings
from eta.store.store import engine_from_url, open_store

SECRET = "s3cr3t"  # noqa: S105  # a made-up one
#: Port 1, where nothing listens.
URLS = {
    "plain": f"postgresql://shop:{SECRET}@127.0.0.1:1/eta",
    "percent-encoded": "postgresql://shop:s3cr3t%40%2F@127.0.0.1:1/eta",
    "encoded letters": "postgresql://shop:s3%63r3t@127.0.0.1:1/eta",
    "an at sign": f"postgresql://shop:a@{SECRET}@127.0.0.1:1/eta",
    "an at sign at its end": f"postgresql://shop:{SECRET}@@127.0.0.1:1/eta",
    "a slash": f"postgresql://shop:{SECRET}/x@127.0.0.1:1/eta",
    "a slash first": f"postgresql://shop:/{SECRET}@127.0.0.1:1/eta",
    "a percent sign": f"postgresql://shop:{SECRET}%ZZ@127.0.0.1:1/eta",
    "a blank": f"postgresql://shop:{SECRET} x@127.0.0.1:1/eta",
    "a letter beyond ASCII": f"postgresql://shop:a@{SECRET}ö@127.0.0.1:1/eta",
    "as a parameter": f"postgresql://127.0.0.1:1/eta?user=shop&password={SECRET}",
    "as an unknown parameter": f"postgresql://127.0.0.1:1/eta?passwort={SECRET}",
    "before an unknown parameter": f"postgresql://127.0.0.1:1/eta?password={SECRET}&x=1",
    "as a mode": f"postgresql://shop:x@127.0.0.1:1/eta?sslmode={SECRET}",
    "another scheme": f"mysql://shop:{SECRET}@127.0.0.1:1/eta",
    "a misspelt scheme": f"postgressql://shop:{SECRET}@127.0.0.1:1/eta",
    "a capital": f"POSTGRESQL://shop:{SECRET}@127.0.0.1:1/eta",
    "the short scheme": f"postgres://shop:{SECRET}@127.0.0.1:1/eta",
}


@pytest.mark.parametrize("kind", URLS)
def test_no_message_repeats_a_password(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    url = URLS[kind]
    settings = Settings.from_env({"ETA_DATABASE_URL": url})
    texts = [repr(settings), str(settings), settings.store_location]
    with caplog.at_level(logging.DEBUG):
        for attempt in (
            lambda: engine_from_url(url).reader(),
            lambda: open_store(url, lambda: datetime.now(UTC)),
        ):
            with pytest.raises(EtaError) as error:
                attempt()
            texts += [str(error.value), *traceback.format_exception(error.value)]
    # The source lines of a traceback are those of this file, which has no password in them.
    shown = "".join([*texts, caplog.text])
    assert SECRET not in shown
    assert "s3%63r3t" not in shown


def test_the_message_says_how_to_write_special_characters() -> None:
    with pytest.raises(EtaError, match=r"percent-encode special characters .* %40 for @"):
        engine_from_url(URLS["an at sign"])


def test_what_the_server_says_is_shown() -> None:
    with pytest.raises(EtaError, match=r"PostgreSQL does not respond: .*port 1 failed"):
        engine_from_url(URLS["plain"]).reader()
