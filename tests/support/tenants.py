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
from eta.domain.access import Caller, Scope
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

        def own(match: re.Match[str]) -> str:
            return (
                self.ids[int(match[1])]
                if int(match[1]) < len(self.ids)
                else f"shp_{int(match[1]):024x}"
            )

        sent = (
            re.sub(r"#(\d+)", own, path),
            re.sub(r"#(\d+)", own, json.dumps(body)) if body is not None else None,
        )
        headers = {"X-API-Key": KEYS[self.name], "Content-Type": "application/json"}
        answered = self.client.request(method, sent[0], content=sent[1], headers=headers)
        return answered.status_code, _ID.sub(
            self._ordinal, _MICROSECONDS.sub("", _in_order(answered.text))
        )

    def _ordinal(self, match: re.Match[str]) -> str:
        if match[0] not in self.ids:
            self.ids.append(match[0])
        return f"#{self.ids.index(match[0])}"


def _in_order(text: str) -> str:
    """An answer whose results are not in the order of ids, which nobody can foresee."""
    told = json.loads(text)
    if "next_cursor" in told:
        told["results"].sort(key=lambda entry: _ID.sub("", json.dumps(entry)))
        told["next_cursor"] = told["next_cursor"] is not None
    return json.dumps(told)


def application(folder: Path, clock: Clock) -> Any:
    """A service that knows both tenants, with a memory of its own."""
    keys = {
        hashlib.sha256(key.encode()).hexdigest(): Caller(name, frozenset(Scope), name)
        for name, key in KEYS.items()
    }
    return create_app(Settings(models=folder / "models", api_keys=keys), clock=clock)


def crossed(folder: Path, seed: int, steps: int) -> int:
    """How many of so many random requests of two tenants are answered otherwise than if each were alone."""
    chance = random.Random(seed)
    asked = [(chance.choice(list(KEYS)), *_request(chance)) for _ in range(steps)]
    together = _answers(folder / "both", asked, list(KEYS))
    alone = {name: iter(_answers(folder / name, asked, [name])) for name in KEYS}
    return sum(
        answer != next(alone[name]) for (name, *_), answer in zip(asked, together, strict=True)
    )


def _answers(
    folder: Path, asked: list[tuple[str, str, str, Any]], who: list[str]
) -> list[tuple[int, str]]:
    """The answers to some tenants' requests; each is asked at the same time in any company."""
    clock, answers = Clock(), []
    with TestClient(application(folder, clock)) as client:
        tenants = {name: Tenant(name, client) for name in who}
        for step, (name, method, path, body) in enumerate(asked, start=1):
            clock.now = NOW + timedelta(seconds=step)
            if name in tenants:
                answers.append(tenants[name].ask(method, path, body))
    return answers


def _request(chance: random.Random) -> tuple[str, str, Any]:
    """A request; both tenants use the same numbers, and ask for ids by their order (`#3`), their own or nobody's."""
    number, some_id = chance.randrange(4), f"#{chance.randrange(12)}"
    shipment = {
        "external_id": f"A-{number}",
        "carrier_code": chance.choice(["post", "other"]),
        "tracking_number": f"{chance.randrange(4):06d}",
        "origin_address": _ADDRESS,
        "destination_address": _ADDRESS,
        "order_time": "2026-05-18T10:00:00Z",
    }
    named = chance.choice(
        [
            {"external_id": f"A-{number}"},
            {"carrier_code": "post", "tracking_number": f"{number:06d}"},
            {"shipment_id": some_id},
        ]
    )
    event = {
        **named,
        "event_code": chance.choice(["accepted", "sorted", "delivered"]),
        "occurred_at": f"2026-05-19T{chance.randrange(24):02d}:00:00Z",
    }
    estimate = {
        "origin_address": _ADDRESS,
        "destination_address": _ADDRESS,
        "order_time": "2026-05-18T10:00:00Z",
        "is_shown": True,
    }
    return chance.choice(
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
                {"carrier_code": chance.choice(["post", "other"])},
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


def unlocked(folder: Path) -> tuple[int, int]:
    """How many requests without the right key were made, of every operation, and how many of them were let in."""
    narrow = {scope: f"a key that opens {scope}" for scope in Scope}
    keys = {
        hashlib.sha256(key.encode()).hexdigest(): Caller("north", frozenset({scope}), scope)
        for scope, key in narrow.items()
    }
    app = create_app(Settings(models=folder / "models", api_keys=keys), clock=Clock())
    asked = let_in = 0
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
                asked += 1
                let_in += answered.status_code not in ({401} if scope is None else {403})
    return asked, let_in


def _operations(app: Any) -> Iterator[tuple[str, str, str]]:
    """Every protected operation, and the scope that opens it."""
    for path, operations in app.openapi()["paths"].items():
        if path.startswith("/v1/"):
            for method, facts in operations.items():
                yield method.upper(), path.replace("{shipment_id}", "shp_0"), facts["x-scope"]
