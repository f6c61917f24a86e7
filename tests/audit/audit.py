"""Checks the dependencies: licences and known advisories; writes a software bill of materials.

`make check` checks licences alone, from what is installed, and needs no network. `make audit` does
everything. The last line is one JSON object. Advisories that no index could be asked about are no
failure: the line says that they were not checked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, cast

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from license_expression import ExpressionError, get_spdx_licensing
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
BILL = ROOT / "eta.cdx.json"
POLICY = Path(__file__).with_name("licences.toml")
#: Each lock of Python packages and the environment that it is installed in.
LOCKS = {
    LOCK: ".venv",
    ROOT / "tests/clients/requirements.lock": ".venv-clients",
    ROOT / "training/benchmarks/requirements.lock": ".venv-peers",
}
NPM_LOCK = ROOT / "tests/clients/package-lock.json"
#: Indices of advisories, in the order in which they are asked, and seconds to wait for an answer.
INDICES, TIMEOUT = ("pypi", "osv"), 15

#: SPDX names of the licences that classifiers name.
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
#: Classifiers that name no licence.
_NO_LICENCE = {"DFSG approved", "OSI Approved"}
_ENTRY = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_SPDX = get_spdx_licensing()


@dataclass(frozen=True)
class Package:
    """A locked version of a package, with the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()


def read_lock(text: str) -> list[Package]:
    """The packages of a lock."""
    packages: list[Package] = []
    for line in text.splitlines():
        if match := _ENTRY.match(line):
            packages.append(Package(canonicalize_name(match[1]), match[2]))
        elif packages and (found := _HASH.search(line)):
            last = packages.pop()
            packages.append(Package(last.name, last.version, (*last.hashes, found[1])))
    return packages


def licence_of(metadata: Message | None) -> str | None:
    """The licence that a package's metadata name, as an SPDX expression; None if they name none."""
    if metadata is None:
        return None
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = metadata.get_all("Classifier", [])
    names = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    names = [name for name in names if name not in _NO_LICENCE]
    if names:
        return " AND ".join(_CLASSIFIERS.get(name, f"unknown: {name}") for name in names)
    return metadata.get("License")


def is_allowed(licence: str, allowed: Iterable[str]) -> bool:
    """Whether an SPDX expression can be met with allowed licences alone."""
    try:
        expression = _SPDX.parse(licence, validate=True)
    except ExpressionError:
        return False
    terms = {_SPDX.parse(text) for text in allowed}

    def is_met(part: Any) -> bool:
        if part in terms:
            return True
        if isinstance(part, _SPDX.OR):
            return any(map(is_met, part.args))
        return isinstance(part, _SPDX.AND) and all(map(is_met, part.args))

    return expression is not None and is_met(expression)


def installed(environment: Path) -> dict[str, Message]:
    """The metadata of the packages of an environment, by name."""
    folders = [str(path) for path in environment.glob("lib/python*/site-packages")]
    # They are messages, whatever their protocol promises.
    found = [cast("Message", each.metadata) for each in distributions(path=folders)]
    return {canonicalize_name(metadata["Name"]): metadata for metadata in found}


def licences(
    packages: Iterable[Package], metadata: Mapping[str, Message], policy: Mapping[str, Any]
) -> dict[str, str]:
    """The licence of each package, by name; empty where nothing is known."""
    stated = policy["licences"]
    return {
        package.name: stated.get(package.name) or licence_of(metadata.get(package.name)) or ""
        for package in packages
    }


def npm_licences(lock: Mapping[str, Any]) -> dict[str, str]:
    """The licence of each package of an npm lock."""
    return {
        path.rpartition("node_modules/")[2]: str(package.get("license", ""))
        for path, package in lock["packages"].items()
        if path
    }


def refused(found: Mapping[str, str], policy: Mapping[str, Any]) -> Iterator[str]:
    """Why packages may not be used, a line each."""
    exceptions = policy["exceptions"]
    for name, licence in sorted(found.items()):
        is_excepted = name in exceptions and exceptions[name]["licence"] == licence
        if not (is_excepted or is_allowed(licence, policy["allowed"])):
            yield f"{name}: {licence or 'its licence is not known; look it up'}"


def check_licences(policy: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The packages that may not be used, and the locks that were not checked."""
    problems, unchecked = [], []
    for lock, environment in LOCKS.items():
        where = str(lock.relative_to(ROOT))
        if not (ROOT / environment).is_dir():
            unchecked.append(f"{where}: {environment} is not installed")
            continue
        packages = read_lock(lock.read_text(encoding="utf-8"))
        found = licences(packages, installed(ROOT / environment), policy)
        problems += [f"{where}: {line}" for line in refused(found, policy)]
    npm = json.loads(NPM_LOCK.read_text(encoding="utf-8"))
    problems += [
        f"{NPM_LOCK.relative_to(ROOT)}: {line}" for line in refused(npm_licences(npm), policy)
    ]
    return problems, unchecked


def advisories(report: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The known advisories of a report of pip-audit, and the packages that it could not check."""
    known, unchecked = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unchecked.append(package["name"])
        for advisory in package.get("vulns", []):
            fixed = ", ".join(advisory["fix_versions"]) or "no version"
            where = f"{package['name']} {package['version']}"
            known.append(f"{where}: {advisory['id']}, fixed in {fixed}")
    return known, unchecked


def ask(index: str) -> Mapping[str, Any] | None:
    """The report of pip-audit on the lock by an index; None if it could not be reached."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", index]
    options = ["--timeout", str(TIMEOUT), "--format", "json", "--progress-spinner", "off"]
    source = ["--disable-pip", "--require-hashes", "--requirement", str(LOCK)]
    # One line a package may take as long as the index needs; all of them may not.
    try:
        done = subprocess.run(
            [*command, *options, *source], capture_output=True, check=False, timeout=40 * TIMEOUT
        )
        report: Mapping[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return report


def check_advisories() -> tuple[list[str], str]:
    """The known advisories, and how much was checked, in words."""
    best: tuple[list[str], int] | None = None
    for index in INDICES:
        report = ask(index)
        if report is None:
            print(f"advisories: {index} cannot be reached")
            continue
        known, unchecked = advisories(report)
        checked = len(report["dependencies"]) - len(unchecked)
        print(f"advisories: {index} knows {checked:,} of {len(report['dependencies']):,} packages")
        if best is None or checked > best[1]:
            best = known, checked
        if not unchecked:
            break
    if best is None or not best[1]:
        return [], "not checked: no index of advisories could be reached"
    return best[0], f"checked for {best[1]:,} packages"


def required_names(metadata: Mapping[str, Message]) -> set[str]:
    """The packages that the product needs on some system, with its extras; no tools."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    waiting = [*project["dependencies"], *(text for extra in extras for text in extra)]
    names: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in names:
            continue
        names.add(name)
        if name in metadata:
            further = metadata[name].get_all("Requires-Dist", [])
            waiting += [text for text in further if _applies(text, requirement.extras)]
    return names


def _applies(text: str, extras: Iterable[str]) -> bool:
    """Whether a requirement belongs to a package without extras, or to one of its extras."""
    marker = str(Requirement(text).marker or "")
    return "extra ==" not in marker or any(f'"{extra}"' in marker for extra in extras)


def _component(package: Package, licence: str, *, is_needed: bool) -> Component:
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        scope=ComponentScope.REQUIRED if is_needed else ComponentScope.EXCLUDED,
        bom_ref=f"{package.name}=={package.version}",
        purl=PackageURL("pypi", name=package.name, version=package.version),
        licenses=[LicenseFactory().make_from_string(licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=text) for text in package.hashes],
    )


def bill_of_materials(
    packages: Iterable[Package], found: Mapping[str, str], needed: set[str]
) -> str:
    """A CycloneDX document of the packages; tools are marked as excluded from the product."""
    components = [
        _component(package, found[package.name], is_needed=package.name in needed)
        for package in packages
    ]
    bom = Bom(components=components)
    product = Component(name="eta", type=ComponentType.APPLICATION, bom_ref="eta")
    bom.metadata.component = product
    required = [part for part in components if part.scope is ComponentScope.REQUIRED]
    bom.register_dependency(product, required)
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return outputter.output_as_string(indent=1)


def write_bill(policy: Mapping[str, Any]) -> None:
    """Writes the bill of materials."""
    packages = read_lock(LOCK.read_text(encoding="utf-8"))
    metadata = installed(ROOT / LOCKS[LOCK])
    found = licences(packages, metadata, policy)
    bill = bill_of_materials(packages, found, required_names(metadata))
    BILL.write_text(bill + "\n", encoding="utf-8")
    print(f"bill of materials: {BILL.relative_to(ROOT)}, {len(packages)} packages")


def main(arguments: list[str]) -> int:
    """Checks what the arguments name: licences alone with ``--licences``, else everything."""
    policy = tomllib.loads(POLICY.read_text(encoding="utf-8"))
    problems, unchecked = check_licences(policy)
    for line in (*unchecked, *problems):
        print(f"licences: {line}")
    result: dict[str, Any] = {"audit": "licences", "ok": not problems, "refused": problems}
    if "--licences" not in arguments:
        write_bill(policy)
        known, extent = check_advisories()
        for line in known:
            print(f"advisory: {line}")
        print(f"advisories: {extent}")
        result |= {"audit": "all", "ok": not (problems or known), "advisories": known}
        result |= {"advisories_extent": extent, "bill": BILL.name}
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
