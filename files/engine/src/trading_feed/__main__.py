"""Command line of `trading-feed`."""

import argparse
import logging
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import uvloop
from trading_engine.host.sockets import family_of
from trading_engine.settings.tables import ConfigError
from trading_engine.wire.proxied import LISTENER_ADDRESS

from trading_feed.accounts import Accounts
from trading_feed.log import Log
from trading_feed.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="trading-feed", description="Serve the engine's ITCH 5.0 log to subscribers over SoupBinTCP."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="engine.toml: [market_data], [itch] and the accounts"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        accounts = Accounts(options.config)
        config = accounts.config
        endpoint = config.market_data
        with ExitStack() as listeners:
            listener = listeners.enter_context(_listen(endpoint.address, endpoint.port))
            for_proxy = None
            if endpoint.proxy_port:
                for_proxy = listeners.enter_context(_listen(LISTENER_ADDRESS, endpoint.proxy_port))
            log = _open(config.itch.directory)
            uvloop.run(serve(accounts, listener, for_proxy, log))
            log.close()
    except ConfigError as error:
        print(f"trading-feed: error: {error}", file=sys.stderr)
        return 2
    return 0


def _open(directory: Path) -> Log:
    """Open the log with all existing messages indexed, so that the first subscriber can request any of them.

    Raises ConfigError when the directory cannot be read.
    """
    try:
        log = Log(directory)
        while log.extend():
            pass
    except OSError as error:
        raise ConfigError(
            f"cannot read [itch] directory {directory}: {error.strerror}; run the engine first"
        ) from error
    return log


def _listen(address: str, port: int) -> socket.socket:
    try:
        return socket.create_server((address, port), family=family_of(address), backlog=512)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {address}:{port}: {error.strerror}; "
            "another process may have the port: see [market_data] in engine.toml"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
