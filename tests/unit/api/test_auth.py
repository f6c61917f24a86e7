"""Keys, their scopes, and how they are replaced while the service runs."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.api.auth import ApiKeyAuth, on_hang_up
from eta.domain.access import Scope
from eta.domain.errors import InvalidSetting
from eta.settings import Settings, read_api_keys

ALL = "+".join(Scope)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def entry(key: str, scopes: str = ALL) -> str:
    return f"{digest(key)}:shop:{scopes}"


@pytest.mark.parametrize("end", ["", ":", ":shop", ":shop:", ":shop:+", "::"])
def test_an_entry_without_scopes_is_refused_with_a_hint(end: str) -> None:
    hint = "holds an entry without scopes; write DIGEST:TENANT:SCOPE.SCOPE as `eta key` does"
    with pytest.raises(InvalidSetting, match=f"^ETA_API_KEYS {hint}, .*estimate, read"):
        Settings.from_env({"ETA_API_KEYS": entry("one") + "," + digest("two") + end})


def test_a_key_has_the_scopes_of_its_entry_alone() -> None:
    keys = Settings.from_env({"ETA_API_KEYS": entry("one", "read")}).api_keys
    assert keys[digest("one")].scopes == {Scope.READ}


def test_a_file_holds_an_entry_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# shop\n{entry('one', 'read')}\n\n  {entry('two')}\r\n", encoding="utf-8")
    settings = Settings.from_env({"ETA_API_KEYS_FILE": str(file)})
    assert set(settings.api_keys) == {digest("one"), digest("two")}
    assert settings.api_keys_file == file
    with pytest.raises(InvalidSetting, match="are both set; set one of them"):
        Settings.from_env({"ETA_API_KEYS_FILE": str(file), "ETA_API_KEYS": entry("three")})


BAD_FILES = {
    "absent": (None, "No such file"),
    "empty": ("\n# nothing\n", "it holds no keys"),
    "no digest": ("secret:shop:read", "holds an entry without a SHA-256 digest"),
    "no scopes": (f"{digest('x')}:shop", "without scopes"),
    "unknown scope": (entry("x", "fly"), "names the scope 'fly'"),
    "twice": (f"{entry('x')}\n{entry('x')}", "holds a key twice"),
    "bytes": (b"\xff\xfe", "it is not text"),
    "a pipe": ("pipe", "it is a pipe"),
    "large": ("#" * ((1 << 20) + 1), "larger than 1 MiB"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_keeps_the_old_keys_and_is_logged(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(entry("one"), encoding="utf-8")
    auth = ApiKeyAuth(read_api_keys(file))
    file.unlink()
    content, message = BAD_FILES[kind]
    if content == "pipe":
        os.mkfifo(file)
    elif content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    on_hang_up(auth, file)
    assert auth.principal([b"one"])
    [record] = caplog.records
    assert (record.levelname, record.action) == ("ERROR", "keys_rejected")  # type: ignore[attr-defined]
    assert message in record.message
    assert "secret" not in record.message


def test_keys_are_added_and_revoked_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(entry("one"), encoding="utf-8")
    settings = Settings.from_env({"ETA_HOME": str(tmp_path), "ETA_API_KEYS_FILE": str(file)})
    app = create_app(settings)
    with TestClient(app) as client:

        def status(key: str) -> int:
            return client.get("/v1/models", headers={"X-API-Key": key}).status_code

        assert (status("one"), status("two")) == (200, 401)
        file.write_text(f"{entry('two')}\n{entry('three', 'ingest')}", encoding="utf-8")
        on_hang_up(app.state.auth, file)
        assert (status("one"), status("two"), status("three")) == (401, 200, 403)
        assert app.state.auth.key_counts == {"shop": 2}


def test_without_a_file_the_process_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr("eta.api.auth.signal.raise_signal", raised.append)
    on_hang_up(ApiKeyAuth({}), None)
    assert raised == [signal.SIGTERM]
