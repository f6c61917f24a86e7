"""Two tenants on one service, and each on one of its own: their answers must be the same, byte for byte but for ids."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.domain.access import Principal, Scope
from eta.settings import Settings
from support.store import NOW, Clock

KEYS = {"north": "the key of north", "south": "the key of south"}
_ID = re.compile(r"(?:shp|evt|est)_[0-9a-f]{24}")
#: Two things known within one second are told apart by them, in the order in which they came.
_MICROSECONDS = re.compile(r"(?<=:\d\d)\.\d{6}(?=Z)")
_ADDRESS = {"country": "AT", "state": "9"}


@dataclass
class Tenant:
    """A tenant who remembers the ids that it was given, by their order."""

    name: str
    client: TestClient
    ids: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any) -> tuple[int, str]:
        """The answer, with ids by the order in which they were given."""

        def actual_id(match: re.Match[str]) -> str:
            return (
                self.ids[int(match[1])]
                if int(match[1]) < len(self.ids)
                else f"shp_{int(match[1]):024x}"
            )

        request = (
            re.sub(r"#(\d+)", actual_id, path),
            re.sub(r"#(\d+)", actual_id, json.dumps(body)) if body is not None else None,
        )
        headers = {"X-API-Key": KEYS[self.name], "Content-Type": "application/json"}
        response = self.client.request(method, request[0], content=request[1], headers=headers)
        return response.status_code, _ID.sub(
            self._ordinal, _MICROSECONDS.sub("", _in_order(response.text))
        )

    def _ordinal(self, match: re.Match[str]) -> str:
        if match[0] not in self.ids:
            self.ids.append(match[0])
        return f"#{self.ids.index(match[0])}"


def _in_order(text: str) -> str:
    """An answer whose results are not in the order of ids, which nobody can foresee."""
    body = json.loads(text)
    if "next_cursor" in body:
        body["results"].sort(key=lambda entry: _ID.sub("", json.dumps(entry)))
        body["next_cursor"] = body["next_cursor"] is not None
    return json.dumps(body)


def application(folder: Path, clock: Clock) -> Any:
    """A service that knows both tenants, with a memory of its own."""
    keys = {
        hashlib.sha256(key.encode()).hexdigest(): Principal(name, frozenset(Scope), name)
        for name, key in KEYS.items()
    }
    return create_app(Settings(models=folder / "models", api_keys=keys), clock=clock)


def count_differing_answers(folder: Path, seed: int, steps: int) -> int:
    """How many of so many random requests of two tenants are answered otherwise than if each were alone."""
    rng = random.Random(seed)
    requests = [(rng.choice(list(KEYS)), *_request(rng)) for _ in range(steps)]
    together = _answers(folder / "both", requests, list(KEYS))
    alone = {name: iter(_answers(folder / name, requests, [name])) for name in KEYS}
    return sum(
        answer != next(alone[name]) for (name, *_), answer in zip(requests, together, strict=True)
    )


def _answers(
    folder: Path, requests: list[tuple[str, str, str, Any]], names: list[str]
) -> list[tuple[int, str]]:
    """The answers to some tenants' requests; each is asked at the same time in any company."""
    clock, answers = Clock(), []
    with TestClient(application(folder, clock)) as client:
        tenants = {name: Tenant(name, client) for name in names}
        for step, (name, method, path, body) in enumerate(requests, start=1):
            clock.now = NOW + timedelta(seconds=step)
            if name in tenants:
                answers.append(tenants[name].ask(method, path, body))
    return answers


def _request(rng: random.Random) -> tuple[str, str, Any]:
    """A request; both tenants use the same numbers, and ask for ids by their order (`#3`), their own or nobody's."""
    number, some_id = rng.randrange(4), f"#{rng.randrange(12)}"
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
            ("POST", "/v1/shipments", {**shipment, "estimate_id": some_id}),
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
    """How many requests without the right key were made, of every operation, and how many of them were let in."""
    narrow = {scope: f"a key that opens {scope}" for scope in Scope}
    keys = {
        hashlib.sha256(key.encode()).hexdigest(): Principal("north", frozenset({scope}), scope)
        for scope, key in narrow.items()
    }
    app = create_app(Settings(models=folder / "models", api_keys=keys), clock=Clock())
    tried = admitted = 0
    with TestClient(app) as client:
        for method, path, needed in _operations(app):
            for scope, key in [(None, ""), (None, "no key of ours"), *narrow.items()]:
                if scope is not None and scope == needed:
                    continue
                answered = client.request(
                    method,
                    path,
                    content="{}",
                    headers={"X-API-Key": key, "Content-Type": "application/json"},
                )
                tried += 1
                admitted += answered.status_code not in ({401} if scope is None else {403})
    return tried, admitted


def _operations(app: Any) -> Iterator[tuple[str, str, str]]:
    """Every protected operation, and the scope that opens it."""
    for path, operations in app.openapi()["paths"].items():
        if path.startswith("/v1/"):
            for method, operation in operations.items():
                yield method.upper(), path.replace("{shipment_id}", "shp_0"), operation["x-scope"]
