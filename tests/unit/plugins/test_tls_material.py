"""A certificate that clients would not accept is refused before anything on a host changes.

A key file that other users can read is also refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.lookup.tls_material import WARNED, material
from cryptography.hazmat.primitives import serialization
from trading_telemetry import certificate

from tests.tls import made

ROOT = Path(__file__).parents[3]
NOW = datetime.now(UTC)
AUTHORITY = made("authority")
PAIR = made("server", AUTHORITY)


def given(**other: Any) -> dict[str, Any]:
    return {"certificate": PAIR.certificate_pem, "key": PAIR.key_pem, **other}


def test_texts_and_files_are_the_same(tmp_path: Path) -> None:
    certificate, key = PAIR.write(tmp_path, "server")
    authority, _ = AUTHORITY.write(tmp_path, "authority")
    texts = material(given(client_ca=AUTHORITY.certificate_pem.rstrip()), NOW)
    files = material({"certificate": str(certificate), "key": str(key), "client_ca": str(authority)}, NOW)
    assert texts == files
    assert texts["problems"] == texts["warnings"] == []
    assert texts["key"] == PAIR.key_pem


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (given(key=made("other").key_pem), "key is not that of the certificate"),
        (given(key=PAIR.certificate_pem), "key is no private key"),
        (given(certificate=PAIR.key_pem), "certificate is no certificate"),
        (given(key=""), "key is missing"),
        (given(certificate=""), "certificate is missing"),
        (given(client_ca="/nowhere/ca.pem"), "client_ca /nowhere/ca.pem: No such file"),
        (given(key="/nowhere/key.pem"), "key /nowhere/key.pem: No such file"),
        (given(client_ca=made("old", days=-1).certificate_pem), "client_ca has expired"),
        ("orders.crt", "no dictionary"),
    ],
)
def test_what_cannot_be_used_is_named_once(inputs: Any, said: str) -> None:
    (problem,) = material(inputs, NOW)["problems"]
    assert said in problem
    assert "PRIVATE" not in problem.replace("-----BEGIN PRIVATE KEY-----", "")


def test_an_encrypted_key_is_refused() -> None:
    secret = serialization.BestAvailableEncryption(b"secret")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    assert "encrypted" in material(given(key=PAIR.key.private_bytes(*form).decode()), NOW)["problems"][0]


def test_one_text_with_certificate_chain_and_key_is_both() -> None:
    """A user can give telemetry one text with three parts: the certificate, its chain, and the key."""
    text = PAIR.certificate_pem + AUTHORITY.certificate_pem + PAIR.key_pem
    assert material({"certificate": text, "key": text}, NOW)["problems"] == []
    other = PAIR.certificate_pem + made("other").key_pem
    assert material({"certificate": other, "key": other}, NOW)["problems"] == ["key is not that of the certificate"]


def test_controller_host_and_alert_warn_of_an_end_as_early() -> None:
    rules = yaml.safe_load((ROOT / "files/prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    (alert,) = (
        rule["expr"] for group in rules for rule in group["rules"] if rule.get("alert") == "TradingCertificateEnds"
    )
    assert timedelta(seconds=certificate.WARNED_S) == WARNED
    assert alert.endswith(f"< {WARNED.days} * 86400")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_may_read_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    certificate, key = PAIR.write(tmp_path, "server")
    key.chmod(mode)
    (problem,) = material({"certificate": str(certificate), "key": str(key)}, NOW)["problems"]
    assert f"mode 0{mode:o}" in problem
    assert problem.endswith(f"chmod 600 {key}")


@pytest.mark.parametrize(
    ("days", "problems", "warnings"), [(-1, 1, 0), (0.5, 0, 1), (29, 0, 1), (31, 0, 0), (-400, 0, 0)]
)
def test_expired_is_refused_and_less_than_30_days_are_warned_of(days: float, problems: int, warnings: int) -> None:
    """An expired certificate is refused. The module warns when a certificate expires in less than 30 days.

    In the case with -400, the time is before the beginning of the certificate's validity.
    """
    ends = PAIR.certificate.not_valid_after_utc
    at = ends - timedelta(days=days) if days > -400 else PAIR.certificate.not_valid_before_utc - timedelta(days=1)
    found = material(given(), at)
    assert len(found["problems"]) == (1 if days <= -400 else problems)
    assert len(found["warnings"]) == warnings
