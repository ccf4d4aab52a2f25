"""Command line of `trading-spot`: wait for the notice that AWS takes this Spot instance back, then run a command.

EC2 user guide, "Spot Instance interruption notices": the instance metadata has `spot/instance-action` from two minutes
before the interruption, and answers 404 until then.
"""

import argparse
import http.client
import logging
import subprocess
import sys
import time

METADATA = "169.254.169.254"
POLL_SECONDS = 5.0  # as AWS recommends
TOKEN_LIFE_SECONDS = 21600
ANSWER_WITHIN_SECONDS = 2.0

_log = logging.getLogger("trading_spot")


class Metadata:
    """The instance metadata service, version 2: every request carries a session token."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._token = ""

    def notice(self) -> str:
        """Return the notice as AWS words it (JSON), empty while there is none. Raises OSError, HTTPException."""
        status, text = self._ask("GET", "/latest/meta-data/spot/instance-action", self._headers())
        if status == 401:  # the token has ended
            self._token = ""
            status, text = self._ask("GET", "/latest/meta-data/spot/instance-action", self._headers())
        if status not in (200, 404):
            raise http.client.HTTPException(f"status {status}")
        return text if status == 200 else ""

    def _headers(self) -> dict[str, str]:
        if not self._token:
            life = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIFE_SECONDS)}
            status, self._token = self._ask("PUT", "/latest/api/token", life)
            if status != 200:
                self._token = ""
                raise http.client.HTTPException(f"no token: status {status}")
        return {"X-aws-ec2-metadata-token": self._token}

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_WITHIN_SECONDS)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()


def wait_for_notice(metadata: Metadata, poll_seconds: float) -> str:
    """Return the notice once there is one. If the service does not answer, log it once and ask again."""
    silent = False
    while True:
        try:
            notice = metadata.notice()
        except (OSError, http.client.HTTPException) as error:
            if not silent:
                _log.warning("the instance metadata does not answer, asking on: %s", error)
            silent, notice = True, ""
        else:
            silent = False
        if notice:
            return notice
        time.sleep(poll_seconds)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="trading-spot", description="Wait for AWS to take this Spot instance back, then run a command."
    )
    parser.add_argument("--metadata", default=METADATA, metavar="HOST[:PORT]", help="where the metadata is served")
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, metavar="SECONDS", help="time between two looks")
    parser.add_argument("command", nargs="+", help="what to run then")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    notice = wait_for_notice(Metadata(options.metadata), options.poll)
    _log.warning("AWS takes this instance back: %s; running %s", notice, " ".join(options.command))
    return subprocess.run(options.command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
