"""Checks of TLS certificates: when a certificate expires, and whether a certificate and its key can be served."""

import re
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trading_engine.settings.tables import ConfigError

_PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}  # RFC 5280: UTCTime up to 2049, GeneralizedTime from then on
WARNED_S = 30 * 86_400
"""Warnings begin this long before a certificate expires. The plugin `tls_material` and Prometheus's alert rule
use the same time.
"""
OTHERS = 0o037
"""The mode bits that a key file must not have. Its group may read it; other users must have no access."""


def ends_s(path: Path) -> float:
    """Return the Unix time in seconds at which the first certificate of a PEM file expires.

    Raises ConfigError when the file cannot be read or holds no certificate. The certificate is decoded here, because
    the standard library decodes only certificates that it has verified, and so never an expired one.
    """
    try:
        found = _PEM.search(path.read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise ConfigError(f"certificate {path} cannot be read: {error.strerror}") from error
    if found is None:
        raise ConfigError(f"{path} holds no certificate (BEGIN CERTIFICATE, PEM)")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(found[0])).timestamp()
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"{path}: the first certificate cannot be decoded") from error


@dataclass(frozen=True)
class End:
    """The result for one certificate: whether it has expired, and a warning to print after the certificate's name.

    The warning is "" if the certificate is valid for more than WARNED_S seconds.
    """

    has_come: bool
    words: str


def end_of(ends_s: float, now_s: float) -> End:
    """Return whether a certificate that expires at `ends_s` has expired at `now_s`, and a warning or "".

    Both times are Unix times in seconds.
    """
    left_s, day = ends_s - now_s, day_of(ends_s)
    if left_s <= 0:
        return End(True, f"ended on {day}: clients refuse it")
    if left_s < WARNED_S:
        return End(False, f"ends in {left_s / 86_400:.0f} days, on {day}: renew it")
    return End(False, "")


def day_of(ends_s: float) -> str:
    """Return the date of a Unix time in UTC, such as "2026-11-30"."""
    return f"{datetime.fromtimestamp(ends_s, UTC):%Y-%m-%d}"


class Certificates:
    """The times at which certificates expire: those that telemetry serves, and those that it only watches.

    `ends` maps the path of a certificate to a Unix time. `problems` has a text for each watched file that cannot be
    read. The served certificate is read only at the start, because the server also keeps using the certificate that it
    then loaded.
    """

    def __init__(self, served: Path | None, watched: tuple[Path, ...]) -> None:
        """Read all files. Raises ConfigError when the file `served` holds no certificate."""
        self._served = {str(served): ends_s(served)} if served else {}
        self._watched = watched
        self.ends: dict[str, float] = {}
        self.problems: list[str] = []
        self.read()

    def read(self) -> None:
        """Read the watched certificates again, because they may be renewed while telemetry runs."""
        ends, problems = dict(self._served), []
        for path in self._watched:
            try:
                ends[str(path)] = ends_s(path)
            except ConfigError as error:
                problems.append(str(error))
        self.ends, self.problems = ends, problems


def check_pair(certificate: Path, key: Path) -> None:
    """Raise ConfigError if the file of a certificate or of its key cannot be read, or if they do not belong together.

    Also raise it if other users can access the key.
    """
    try:
        if key.stat().st_mode & OTHERS:
            mode = f"{key.stat().st_mode & 0o777:04o}"
            raise ConfigError(f"key {key} has the mode {mode}: others may read or change it; chmod 0640 it, or less")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(f"certificate {certificate} and key {key} cannot be used together: {error}") from error
    except OSError as error:
        raise ConfigError(f"certificate {certificate} or key {key} cannot be read: {error.strerror}") from error


def check_file(path: Path) -> str:
    """Check a PEM file with certificate, chain and key. Return a text that says until when it is valid.

    Raises ConfigError when the file is wrong or the certificate has expired.
    """
    check_pair(path, path)
    ends = ends_s(path)
    end = end_of(ends, time.time())
    if end.has_come:
        raise ConfigError(f"the certificate {end.words}; give one that has not")
    return f"good until {day_of(ends)}{f'; it {end.words}' if end.words else ''}"


def _no_password() -> str:
    raise ConfigError("the key asks for a password, which nobody types when the service starts: give it without one")


def _not_after(der: bytes) -> datetime:
    """Return the time at which a DER-encoded certificate expires (RFC 5280, 4.1).

    The time is the second one in the field `validity`, which follows version, serial number, algorithm and issuer. The
    version may be absent.
    """
    (certificate,) = _parts(der)
    signed = _parts(_parts(certificate[1])[0][1])
    validity = signed[4 if signed[0][0] == _VERSION else 3]
    kind, text = _parts(validity[1])[1]
    return datetime.strptime(text.decode("ascii"), _TIMES[kind]).replace(tzinfo=UTC)


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tag and content of each element of DER-encoded data (X.690, definite lengths).

    Raises IndexError when the last element is truncated.
    """
    parts, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(der[at : at + count], "big"), at + count
        if at + length > len(der):
            raise IndexError
        parts.append((tag, der[at : at + length]))
        at += length
    return parts
