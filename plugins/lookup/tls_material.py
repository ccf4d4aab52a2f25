# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lookup that reads a TLS certificate and its key on the controller, and checks them before a host is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tls_material
short_description: Read a TLS certificate, its key and the clients' authority, and check them
version_added: 0.2.0
author:
  - lowlatency.trading contributors (@lowlatency)
description:
  - Returns the PEM texts of O(_terms) and their problems. So a play can end before it installs a certificate that
    clients would refuse.
  - Each value is the path of a file on the controller, or the PEM text itself, for example from Ansible Vault.
options:
  _terms:
    description: >-
      A dictionary with C(certificate) (with its chain) and C(key). C(client_ca) is needed when clients authenticate by
      certificates.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Check a certificate
  ansible.builtin.assert:
    that: not material.problems
    fail_msg: "{{ material.problems | join('; ') }}"
  vars:
    material: "{{ lookup('lowlatency.trading.tls_material', {'certificate': 'orders.crt', 'key': 'orders.key'}) }}"
"""

RETURN = r"""
_raw:
  description: >-
    For each term a dictionary with C(certificate), C(key) and C(client_ca) as PEM texts, and the lists C(problems) and
    C(warnings). C(problems) says why the certificate cannot be used. A warning is, for example, an expiry within 30
    days.
  type: list
  elements: dict
"""

import os
import stat
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

WARNED = timedelta(days=30)  # telemetry and Prometheus warn at the same time
_PARTS = ("certificate", "key", "client_ca")
_PEM = "-----BEGIN "
_LONGEST_PATH = 200


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible carries no types
    """The lookup. It returns a certificate, its key and the client authority as text, and the problems it found."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **_: Any) -> list[dict[str, Any]]:
        """Return a list with one dictionary for each term. The function `material` makes the dictionary.

        Raises AnsibleError when the library cryptography is not installed.
        """
        if IMPORT_ERROR is not None:
            raise AnsibleError(f"tls_material needs the Python package cryptography: {IMPORT_ERROR}")
        return [material(term, datetime.now(timezone.utc)) for term in terms]


def material(given: Any, now: datetime) -> dict[str, Any]:
    """Return a dictionary with ``certificate``, ``key``, ``client_ca``, ``problems`` and ``warnings``.

    The first three are PEM texts; a text that is missing is empty. ``problems`` lists why the certificate cannot be
    used. ``warnings`` lists what the user should know of a usable certificate, such as that it expires soon.
    """
    found: dict[str, Any] = {"problems": [], "warnings": []}
    if not isinstance(given, dict):
        kind = "is no dictionary: write {certificate: FILE, key: FILE}"
        return {**found, **dict.fromkeys(_PARTS, ""), "problems": [kind]}
    problems: list[str] = found["problems"]
    for part in _PARTS:
        found[part] = _text(part, str(given.get(part) or ""), problems)
    certificate = _first_certificate("certificate", found["certificate"], problems)
    key = _private_key(found["key"], problems)
    if given.get("client_ca"):
        authority = _first_certificate("client_ca", found["client_ca"], problems)
        if authority is not None:
            _look_at_dates("client_ca", authority, now, found)
    if certificate is not None:
        _look_at_dates("certificate", certificate, now, found)
        if key is not None and certificate.public_key() != key.public_key():
            problems.append("key is not that of the certificate")
    return found


def _text(part: str, value: str, problems: list[str]) -> str:
    """Return the given PEM text, or the content of the named file.

    When the file is unreadable, add a problem and return an empty text.
    """
    if not value or _PEM in value:
        return value if value.endswith("\n") or not value else value + "\n"
    path = os.path.expanduser(value)
    if len(value) > _LONGEST_PATH or "\n" in value.strip():
        problems.append(
            f"{part} is neither a file's name nor a text in PEM form ({_PEM}…)"
        )  # the value is not quoted: it may be the key itself
        return ""
    try:
        with open(path, encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if part == "key" and mode & 0o077:
                problems.append(f"key {value} has the mode {mode:04o}: others may read it; chmod 600 {value}")
            return file.read()
    except OSError as error:
        problems.append(f"{part} {value}: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"{part} {value} is no PEM file")
    return ""


def _first_certificate(part: str, text: str, problems: list[str]) -> Any:
    if not text:
        if not any(problem.startswith(part) for problem in problems):
            problems.append(f"{part} is missing")
        return None
    try:
        return x509.load_pem_x509_certificate(text.encode("ascii"))
    except ValueError:
        problems.append(f"{part} is no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
        return None


def _private_key(text: str, problems: list[str]) -> Any:
    if not text:
        if not any(problem.startswith("key") and "mode" not in problem for problem in problems):
            problems.append("key is missing")
        return None
    try:
        return serialization.load_pem_private_key(text.encode("ascii"), password=None)
    except TypeError:
        problems.append("key is encrypted: the proxy starts at a boot, when nobody can say its password")
    except ValueError:
        problems.append("key is no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    return None


def _look_at_dates(part: str, certificate: Any, now: datetime, found: dict[str, Any]) -> None:
    """Add a problem when the certificate is not valid now, or a warning when it expires within 30 days."""
    begins, ends = _in_utc(certificate, "not_valid_before"), _in_utc(certificate, "not_valid_after")
    if ends <= now:
        found["problems"].append(f"{part} has expired on {ends:%Y-%m-%d}")
    elif begins > now:
        found["problems"].append(f"{part} is not valid before {begins:%Y-%m-%d}")
    elif ends - now < WARNED:
        found["warnings"].append(f"{part} expires on {ends:%Y-%m-%d}: renew it, and run the play again")


def _in_utc(certificate: Any, name: str) -> datetime:
    """Return a date of the certificate in UTC. ``name`` is the date's attribute without the suffix "_utc".

    Versions of cryptography before 42 return a date without a time zone.
    """
    aware: datetime | None = getattr(certificate, f"{name}_utc", None)
    return aware or getattr(certificate, name).replace(tzinfo=timezone.utc)
