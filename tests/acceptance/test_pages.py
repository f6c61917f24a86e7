"""The pages for people: without keys, without secrets, and whole without a network."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.domain.access import Principal
from eta.settings import Settings

DIGEST = hashlib.sha256(b"a key that a page must not show").hexdigest()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that requires a key, called without one."""
    home: Path = tmp_path_factory.mktemp("pages")
    settings = Settings(home=home, models=home / "models", api_keys={DIGEST: Principal()})
    with TestClient(create_app(settings)) as opened:
        yield opened


class Elements(HTMLParser):
    """The tags of a page, and whether they are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_whole_and_loads_nothing(client: TestClient, path: str) -> None:
    response = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    elements = Elements(response.text)
    assert elements.open == []
    assert not elements.tags & {"script", "link", "img", "iframe", "form", "object"}
    names = {name for name, _ in elements.attributes}
    assert names <= {"lang", "charset", "name", "content", "href", "id"}
    targets = {value or "" for name, value in elements.attributes if name == "href"}
    assert not any(":" in target or target.startswith("//") for target in targets)
    ids = {f"#{value}" for name, value in elements.attributes if name == "id"}
    assert {target for target in targets if target.startswith("#")} <= ids


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_headers_of_a_page_are_strict(client: TestClient, path: str) -> None:
    response = client.get(path)
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    (style,) = re.findall(r"<style>(.*?)</style>", response.text, flags=re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "public, max-age=300"
    # Other answers stay out of caches.
    assert client.get("/livez").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_holds_no_secrets(client: TestClient, path: str, tmp_path: Path) -> None:
    page = client.get(path).text
    assert DIGEST not in page
    assert DIGEST[:12] not in page
    assert str(tmp_path.parent) not in page


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "text/html"),
        ("*/*", "text/html"),
        ("text/html", "text/html"),
        ("text/html,application/json", "text/html"),
        ("application/json", "application/json"),
        ("application/json;q=0.9, application/problem+json", "application/json"),
    ],
)
def test_the_root_answers_in_json_if_nothing_else_is_accepted(
    client: TestClient, accept: str | None, media_type: str
) -> None:
    response = client.get("/", headers={"Accept": accept} if accept else {"Accept": ""})
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert response.headers["vary"] == "Accept"
    if media_type == "application/json":
        about = response.json()
        assert (about["object"], about["name"]) == ("service", "eta")
        for path in about["links"]:
            assert client.get(path).status_code in (200, 503)


def test_the_reference_lists_every_route_with_its_examples(client: TestClient) -> None:
    page, document = client.get("/docs").text, client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            for parameter in operation.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in page
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for title in content.get("examples", {}):
                    assert f"Example: {title}" in page
    for name, schema in document["components"]["schemas"].items():
        assert f'id="schema-{name}"' in page
        for field in schema.get("properties", {}):
            assert f"<code>{field}</code>" in page


def test_the_reference_shows_code_without_backticks(client: TestClient) -> None:
    page = client.get("/docs", headers={"Accept": "text/html"}).text
    assert "<code>application/x-ndjson</code>" in page
    assert "`" not in re.sub("<pre>.*?</pre>", "", page, flags=re.DOTALL)


def test_pages_take_no_parameters_and_no_other_method(client: TestClient) -> None:
    assert client.get("/?next=//elsewhere").status_code == 422
    assert client.post("/").status_code == 405
    assert client.get("/docs/").status_code == 404
