# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function that writes the software bill of materials of an installed release, in CycloneDX 1.6.

The module python_release calls it on the host, where only the release's own packages are installed. So no library for
CycloneDX is used. The format: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import email.parser
import json
import re
from pathlib import Path
from typing import Any

BOM = "sbom.cdx.json"


def render(home: Path, wheels: dict[str, str], release: str, compiled: bool) -> str:
    """Return the bill of materials, as JSON, of the virtual environment at `home`.

    `wheels` are the wheels installed there: file name → sha256. The same release gives the same bytes on every host.
    """
    licences = _licences(home)
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "bom-ref": "release",
                "type": "application",
                "name": "lowlatency.trading",
                "version": release,
                "properties": [{"name": "lowlatency.trading:compiled", "value": json.dumps(compiled)}],
            }
        },
        "components": [_component(name, digest, licences) for name, digest in sorted(wheels.items())],
    }
    return json.dumps(document, indent=2) + "\n"


def _component(wheel: str, digest: str, licences: dict[str, str]) -> dict[str, Any]:
    name, version = wheel.split("-")[:2]
    name = _normal(name)
    component: dict[str, Any] = {
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "properties": [{"name": "lowlatency.trading:wheel", "value": wheel}],
    }
    if name in licences:
        component["licenses"] = [{"license": {"name": licences[name]}}]
    return component


def _licences(home: Path) -> dict[str, str]:
    """Return a dictionary: project → licence. It has each project whose metadata names a licence in one line."""
    found = {}
    for path in home.glob("lib*/python*/site-packages/*.dist-info/METADATA"):
        metadata = email.parser.Parser().parsestr(path.read_text(encoding="utf-8", errors="replace"), headersonly=True)
        licence = str(metadata.get("License-Expression") or metadata.get("License") or "").strip()
        if licence and "\n" not in licence:  # some projects put the whole text of the licence there
            found[_normal(str(metadata.get("Name", "")))] = licence
    return found


def _normal(name: str) -> str:
    """Return a project's name in normalized form (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()
