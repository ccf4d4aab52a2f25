"""Command line of `trading-feed`."""

import argparse
import logging
import socket
import sys
from pathlib import Path

import uvloop
from trading_engine.host.sockets import family_of
from trading_engine.settings import config as engine_config
from trading_engine.settings.tables import ConfigError

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
        with _listen(config.market_data) as listener:
            log = _open(config.itch.directory)
            uvloop.run(serve(accounts, listener, log))
            log.close()
    except ConfigError as error:
        print(f"trading-feed: error: {error}", file=sys.stderr)
        return 2
    return 0


def _open(directory: Path) -> Log:
    """Index everything that is there already, so that the first subscriber may ask for any message."""
    try:
        log = Log(directory)
        while log.extend():
            pass
    except OSError as error:
        raise ConfigError(
            f"cannot read [itch] directory {directory}: {error.strerror}; run the engine first"
        ) from error
    return log


def _listen(endpoint: engine_config.Endpoint) -> socket.socket:
    try:
        return socket.create_server((endpoint.address, endpoint.port), family=family_of(endpoint.address), backlog=512)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {endpoint.address}:{endpoint.port}: {error.strerror}; "
            "another process may have the port: see [market_data] in engine.toml"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
