"""The end of a certificate's validity, and whether the certificate and its key can be served."""

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
"""The time before a certificate's end when warnings begin: here, on the controller (`tls_material`), in Prometheus."""
OTHERS = 0o037
"""The mode bits that a key file must not have: its group may read it, all others have no access."""


def ends_s(path: Path) -> float:
    """Return when the first certificate of a PEM file ends, in Unix time; raises ConfigError.

    The standard library decodes only certificates that it has verified, and it never verifies an expired one.
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
    """The state of a certificate's validity. `words` follow its name; they are empty while the end is far off."""

    has_come: bool
    words: str


def end_of(ends_s: float, now_s: float) -> End:
    """Judge the end of a certificate's validity, for all callers that refuse certificates or warn of them."""
    left_s, day = ends_s - now_s, day_of(ends_s)
    if left_s <= 0:
        return End(True, f"ended on {day}: clients refuse it")
    if left_s < WARNED_S:
        return End(False, f"ends in {left_s / 86_400:.0f} days, on {day}: renew it")
    return End(False, "")


def day_of(ends_s: float) -> str:
    """Return the day of a Unix time, in UTC."""
    return f"{datetime.fromtimestamp(ends_s, UTC):%Y-%m-%d}"


class Certificates:
    """The ends of the certificates that telemetry serves and watches. The served one stays as read at the start."""

    def __init__(self, served: Path | None, watched: tuple[Path, ...]) -> None:
        """Raises ConfigError when the file to serve is no certificate."""
        self._served = {str(served): ends_s(served)} if served else {}
        self._watched = watched
        self.ends: dict[str, float] = {}
        self.problems: list[str] = []
        self.read()

    def read(self) -> None:
        """Read the watched certificates again: a renewal does not restart telemetry."""
        ends, problems = dict(self._served), []
        for path in self._watched:
            try:
                ends[str(path)] = ends_s(path)
            except ConfigError as error:
                problems.append(str(error))
        self.ends, self.problems = ends, problems


def check_pair(certificate: Path, key: Path) -> None:
    """Raise ConfigError unless both can be read, belong together, and the key has a mode that keeps others out."""
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
    """Return how long a file with certificate, chain and key is valid; raises ConfigError, also when it has expired."""
    check_pair(path, path)
    ends = ends_s(path)
    end = end_of(ends, time.time())
    if end.has_come:
        raise ConfigError(f"the certificate {end.words}; give one that has not")
    return f"good until {day_of(ends)}{f'; it {end.words}' if end.words else ''}"


def _no_password() -> str:
    raise ConfigError("the key asks for a password, which nobody types when the service starts: give it without one")


def _not_after(der: bytes) -> datetime:
    """Return the end of the validity (RFC 5280, 4.1): its second time, after version, serial, algorithm and issuer."""
    (certificate,) = _parts(der)
    signed = _parts(_parts(certificate[1])[0][1])
    validity = signed[4 if signed[0][0] == _VERSION else 3]
    kind, text = _parts(validity[1])[1]
    return datetime.strptime(text.decode("ascii"), _TIMES[kind]).replace(tzinfo=UTC)


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element (X.690, definite lengths); raises IndexError where one is cut off."""
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
