"""Compares two tenants on one service with each of them on its own service.

Their responses must have the same bytes, apart from ids.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.domain.access import Principal, Scope
from eta.settings import Settings
from support.store import NOW, Clock

KEYS = {"north": "the key of north", "south": "the key of south"}
_ID = re.compile(r"(?:shp|evt|est)_[0-9a-f]{24}")
#: Microseconds, by which rows recorded within one second differ, in the order of recording.
_MICROSECONDS = re.compile(r"(?<=:\d\d)\.\d{6}(?=Z)")
_ADDRESS = {"country": "AT", "state": "9"}


@dataclass
class Tenant:
    """A tenant; it remembers the ids in responses, in the order in which they came."""

    name: str
    client: TestClient
    ids: list[str] = field(default_factory=list)
    #: The other tenant of the same service, if there is one.
    other: Tenant | None = None

    def request(self, method: str, path: str, body: Any) -> tuple[int, str]:
        """Returns status and body of a response, with each id replaced by its position."""
        foreign: list[str] = []
        url = self._with_ids(path, foreign)
        content = self._with_ids(json.dumps(body), foreign) if body is not None else None
        headers = {"X-API-Key": KEYS[self.name], "Content-Type": "application/json"}
        response = self.client.request(method, url, content=content, headers=headers)
        text = _MICROSECONDS.sub("", _in_order(response.text))
        for each in foreign:
            text = text.replace(each, "@")
        return response.status_code, _ID.sub(self._ordinal, text)

    def _with_ids(self, text: str, foreign: list[str]) -> str:
        """Puts ids in the place of ``#3``, one of its own, and of ``@shp3``, one of the other's.

        Those of the other tenant are added to ``foreign``.
        """

        def foreign_id(match: re.Match[str]) -> str:
            others = self.other.ids if self.other else []
            of_kind = [each for each in others if each.startswith(match[1])]
            foreign.append(_nth(of_kind, match[1], int(match[2])))
            return foreign[-1]

        own = re.sub(r"#(\d+)", lambda match: _nth(self.ids, "shp", int(match[1])), text)
        return re.sub(r"@(shp|est|evt)(\d+)", foreign_id, own)

    def _ordinal(self, match: re.Match[str]) -> str:
        if match[0] not in self.ids:
            self.ids.append(match[0])
        return f"#{self.ids.index(match[0])}"


def _nth(ids: list[str], kind: str, position: int) -> str:
    """An id by its position, or one that nobody was given."""
    return ids[position] if position < len(ids) else f"{kind}_{position:024x}"


def _in_order(text: str) -> str:
    """Sorts the results of a response by content, because ids are random."""
    body = json.loads(text)
    if "next_cursor" in body:
        body["results"].sort(key=lambda entry: _ID.sub("", json.dumps(entry)))
        body["next_cursor"] = body["next_cursor"] is not None
    return json.dumps(body)


def application(folder: Path, clock: Clock) -> Any:
    """Returns a service with keys of both tenants and a store in memory."""
    keys = {
        hashlib.sha256(key.encode()).hexdigest(): Principal(name, frozenset(Scope), name)
        for name, key in KEYS.items()
    }
    return create_app(Settings(models=folder / "models", api_keys=keys), clock=clock)


def count_differing_answers(folder: Path, seed: int, steps: int) -> int:
    """Sends random requests of two tenants to one service, and to one service a tenant.

    Returns how many responses differ.
    """
    rng = random.Random(seed)
    requests = [(rng.choice(list(KEYS)), *_request(rng)) for _ in range(steps)]
    together = _responses(folder / "both", requests, list(KEYS))
    alone = {name: iter(_responses(folder / name, requests, [name])) for name in KEYS}
    return sum(
        response != next(alone[name])
        for (name, *_), response in zip(requests, together, strict=True)
    )


def _responses(
    folder: Path, requests: list[tuple[str, str, str, Any]], names: list[str]
) -> list[tuple[int, str]]:
    """Returns the responses to the requests of some tenants.

    The clock shows the same time at each request, whichever tenants send theirs.
    """
    clock, responses = Clock(), []
    with TestClient(application(folder, clock)) as client:
        _wait_for_first_purge(client)
        tenants = {name: Tenant(name, client) for name in names}
        for name, tenant in tenants.items():
            tenant.other = next((tenants[other] for other in names if other != name), None)
        for step, (name, method, path, body) in enumerate(requests, start=1):
            clock.now = NOW + timedelta(seconds=step)
            if name in tenants:
                responses.append(tenants[name].request(method, path, body))
    return responses


def _wait_for_first_purge(client: TestClient) -> None:
    """Waits for the write of the start, while which answers are of the moment before it."""
    headers = {"X-API-Key": next(iter(KEYS.values()))}
    for _ in range(1_000):
        as_of = client.get("/v1/shipments", headers=headers).json()["as_of"]
        if datetime.fromisoformat(as_of) == NOW:
            return
        time.sleep(0.005)
    raise AssertionError("the first purge does not end")


def _request(rng: random.Random) -> tuple[str, str, Any]:
    """Returns a random request.

    Both tenants use the same numbers. A request names an id by its position (`#3`), which the
    tenant may not have received, or one of the other tenant (`@shp3`).
    """
    number = rng.randrange(4)
    some_id = rng.choice([f"#{rng.randrange(12)}", f"@shp{rng.randrange(4)}"])
    estimate_id = rng.choice([f"#{rng.randrange(12)}", f"@est{rng.randrange(3)}"])
    shipment = {
        "external_id": f"A-{number}",
        "carrier_code": rng.choice(["post", "other"]),
        "tracking_number": f"{rng.randrange(4):06d}",
        "origin_address": _ADDRESS,
        "destination_address": _ADDRESS,
        "order_time": "2026-05-18T10:00:00Z",
    }
    named = rng.choice(
        [
            {"external_id": f"A-{number}"},
            {"carrier_code": "post", "tracking_number": f"{number:06d}"},
            {"shipment_id": some_id},
        ]
    )
    event = {
        **named,
        "event_code": rng.choice(["accepted", "sorted", "delivered"]),
        "occurred_at": f"2026-05-19T{rng.randrange(24):02d}:00:00Z",
    }
    estimate = {
        "origin_address": _ADDRESS,
        "destination_address": _ADDRESS,
        "order_time": "2026-05-18T10:00:00Z",
        "save": True,
    }
    return rng.choice(
        [
            ("POST", "/v1/shipments", shipment),
            ("POST", "/v1/shipments", {**shipment, "estimate_id": estimate_id}),
            ("GET", f"/v1/estimates/{estimate_id}", None),
            ("GET", f"/v1/estimates/{estimate_id}/schema-org", None),
            (
                "POST",
                "/v1/events",
                {"events": [event, {**event, "occurred_at": "2020-01-01T00:00:00Z"}]},
            ),
            ("POST", "/v1/events", {"events": [event]}),
            (
                "PATCH",
                f"/v1/shipments/{some_id}",
                {"carrier_code": rng.choice(["post", "other"])},
            ),
            ("GET", f"/v1/shipments/{some_id}", None),
            ("GET", f"/v1/shipments?ids={some_id},#1,#2", None),
            ("GET", f"/v1/shipments?external_ids=A-{number},A-{(number + 1) % 4}", None),
            ("GET", "/v1/shipments?limit=100", None),
            ("GET", "/v1/quarantine?limit=100", None),
            ("DELETE", f"/v1/shipments/{some_id}", None),
            ("DELETE", f"/v1/shipments?external_id=A-{number}", None),
            ("POST", "/v1/estimates", estimate),
        ]
    )


def count_unauthorized(folder: Path) -> tuple[int, int]:
    """Sends a request without the right key to every operation.

    Returns how many were sent, and how many were accepted.
    """
    narrow = {scope: f"a key that opens {scope}" for scope in Scope}
    keys = {
        hashlib.sha256(key.encode()).hexdigest(): Principal("north", frozenset({scope}), scope)
        for scope, key in narrow.items()
    }
    app = create_app(Settings(models=folder / "models", api_keys=keys), clock=Clock())
    tried = admitted = 0
    with TestClient(app) as client:
        for method, path, needed in _operations(app):
            for scope, key in [(None, ""), (None, "an unknown key"), *narrow.items()]:
                if scope is not None and scope == needed:
                    continue
                response = client.request(
                    method,
                    path,
                    content="{}",
                    headers={"X-API-Key": key, "Content-Type": "application/json"},
                )
                tried += 1
                admitted += response.status_code not in ({401} if scope is None else {403})
    return tried, admitted


def _operations(app: Any) -> Iterator[tuple[str, str, str]]:
    """Yields every protected operation, and the scope that it needs."""
    for path, operations in app.openapi()["paths"].items():
        if path.startswith("/v1/"):
            for method, operation in operations.items():
                yield method.upper(), path.replace("{shipment_id}", "shp_0"), operation["x-scope"]
