"""The audit of dependencies: licences, advisories and the bill of materials."""

from __future__ import annotations

import json
import tomllib
from email.message import Message
from typing import Any

import pytest

from audit import audit

POLICY = tomllib.loads(audit.POLICY.read_text(encoding="utf-8"))
VULNERABLE = {
    "dependencies": [
        {"name": "sound", "version": "1", "vulns": []},
        {
            "name": "holed",
            "version": "2",
            "vulns": [
                {"id": "GHSA-1", "fix_versions": ["3"]},
                {"id": "GHSA-2", "fix_versions": []},
            ],
        },
        {"name": "unknown", "skip_reason": "not found"},
    ]
}


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-3.0-only WITH Classpath-exception-2.0", False),
        ("(MIT OR GPL-2.0-only) AND ISC", True),
        ("AGPL-3.0-or-later", False),
        ("LGPL-3.0-only", False),
        ("unknown: Proprietary", False),
        ("any-OSI", False),
        ("", False),
    ],
)
def test_an_expression_is_allowed_if_allowed_licences_meet_it(licence: str, expected: bool) -> None:
    assert audit.is_allowed(licence, POLICY["allowed"]) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"License-Expression": "MIT", "License": "other"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"Classifier": "License :: DFSG approved", "License": "ISC"}, "ISC"),
        (
            {"Classifier": "License :: Other/Proprietary License"},
            "unknown: Other/Proprietary License",
        ),
        ({"License": "GPL-3.0-only"}, "GPL-3.0-only"),
        ({}, None),
    ],
)
def test_a_licence_is_read_from_metadata(headers: dict[str, str], expected: str | None) -> None:
    metadata = Message()
    for name, text in headers.items():
        metadata[name] = text
    assert audit.licence_of(metadata) == expected


def test_an_exception_holds_for_one_licence_of_one_package() -> None:
    found = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "GPL-3.0-only", "x": "", "y": "MIT"}
    assert list(audit.refused(found, POLICY)) == [
        "psycopg-binary: GPL-3.0-only",
        "x: its licence is not known; look it up",
    ]


def test_every_locked_package_may_be_used() -> None:
    problems, _ = audit.check_licences(POLICY)
    assert problems == []


def test_a_report_gives_advisories_and_what_was_not_checked() -> None:
    known, unchecked = audit.advisories(VULNERABLE)
    assert known == ["holed 2: GHSA-1, fixed in 3", "holed 2: GHSA-2, fixed in no version"]
    assert unchecked == ["unknown"]


@pytest.mark.parametrize(
    ("report", "status", "extent"),
    [
        (None, 0, "not checked: no index of advisories could be reached"),
        ({"dependencies": [{"name": "x", "skip_reason": "gone"}]}, 0, "not checked: "),
        ({"dependencies": [{"name": "x", "version": "1", "vulns": []}]}, 0, "checked for 1 pack"),
        (VULNERABLE, 1, "checked for 2 packages"),
    ],
    ids=["no network", "an empty index", "sound", "advisories"],
)
def test_only_an_advisory_fails_the_audit(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    report: dict[str, Any] | None,
    status: int,
    extent: str,
) -> None:
    monkeypatch.setattr(audit, "ask", lambda _: report)
    monkeypatch.setattr(audit, "write_bill", lambda _: None)
    assert audit.main([]) == status
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["ok"] is (status == 0)
    assert result["advisories_extent"].startswith(extent)


def test_the_bill_lists_every_locked_package_with_hash_and_licence() -> None:
    packages = audit.read_lock(audit.LOCK.read_text(encoding="utf-8"))
    metadata = audit.installed(audit.ROOT / ".venv")
    found = audit.licences(packages, metadata, POLICY)
    needed = audit.required_names(metadata)
    bill = json.loads(audit.bill_of_materials(packages, found, needed))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    components = {part["purl"]: part for part in bill["components"]}
    assert len(components) == len(packages) == len(set(packages))
    assert all(part["hashes"] and part["licenses"] for part in components.values())
    scopes = {part["name"]: part["scope"] for part in components.values()}
    assert (scopes["pydantic-core"], scopes["uvloop"]) == ("required", "required")
    assert (scopes["pytest"], scopes["pip-audit"]) == ("excluded", "excluded")
