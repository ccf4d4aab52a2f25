"""Command line of `trading-spot`: wait for the notice that AWS will take this Spot instance back, then run a command.

The notice is the item `spot/instance-action` of the instance metadata. It exists from two minutes before the
interruption; until then the metadata service answers 404. (EC2 user guide, "Spot Instance interruption notices".)
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
    """A client of EC2's instance metadata service, version 2, in which every request needs a session token."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._token = ""

    def notice(self) -> str:
        """Return the notice of the interruption, a JSON text of AWS, or "" while there is none.

        Raises OSError or HTTPException when the service does not answer as documented.
        """
        status, text = self._ask("GET", "/latest/meta-data/spot/instance-action", self._headers())
        if status == 401:  # the token has expired
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
    """Ask for the notice of the interruption every `poll_seconds` until there is one, and return it.

    A failure of the metadata service is logged once. Another failure is logged only after the service has answered in
    between.
    """
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
