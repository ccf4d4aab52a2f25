"""Command line of `trading-backup`."""

import argparse
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from trading_engine.host.notify import notify
from trading_engine.settings.tables import ConfigError

from trading_backup import state
from trading_backup.bucket import Bucket
from trading_backup.config import Config, load_config
from trading_backup.shipper import Shipper

LOOK_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Run the program `trading-backup` with one of its commands and return the exit status.

    The command `ship` sends data until SIGTERM. The command `check-config` only checks the configuration.
    """
    parser = argparse.ArgumentParser(
        prog="trading-backup", description="Ship journal, snapshots and configuration to the environment's bucket."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in (("ship", "ship until SIGTERM"), ("check-config", "check a backup.toml, then end")):
        commands.add_parser(name, help=text).add_argument("file", type=Path, metavar="FILE", help="backup.toml")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.file)
        if options.command == "ship":
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
            logging.getLogger("botocore").setLevel(logging.WARNING)
            ship(config)
    except ConfigError as error:
        print(f"trading-backup: error: {error}", file=sys.stderr)
        return 2
    return 0


def ship(config: Config) -> None:
    """Send new data to the bucket until SIGTERM. Data that has not been sent by then is sent after the next start.

    Raises ConfigError when boto3 is missing or an address in the configuration is invalid.
    """
    shipper = Shipper(config, Bucket(config))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    notify("READY=1")
    pause_s = min(LOOK_S, config.rpo_seconds / 4)
    while True:
        state.keep(config.status, shipper.look(time.time()))
        notify("WATCHDOG=1")
        if stopping.wait(pause_s):
            break
    state.forget(config.status)


if __name__ == "__main__":
    sys.exit(main())
