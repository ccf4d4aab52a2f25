"""Command line of `trading-telemetry`."""

import argparse
import logging
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from trading_engine.host.notify import notify
from trading_engine.host.sockets import family_of
from trading_engine.settings.tables import ConfigError

from trading_telemetry.app import make_app
from trading_telemetry.certificate import check_file
from trading_telemetry.config import EXAMPLE, Served, load_config, load_targets
from trading_telemetry.fleet_app import make_fleet_app
from trading_telemetry.fleet_config import EXAMPLE as FLEET_EXAMPLE
from trading_telemetry.fleet_config import load_fleet
from trading_telemetry.protocol import GuardedProtocol
from trading_telemetry.publish import publish

LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"
EXAMPLES = {"example-config": EXAMPLE, "example-fleet": FLEET_EXAMPLE}
UNREAD_TIMEOUT_MS = 10_000
"""A connection is closed when its client has accepted no byte of an answer for this time."""


class Server(uvicorn.Server):
    """A web server that reports its start to systemd only when it can answer requests."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        notify("READY=1")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="trading-telemetry", description="Serve the engine's published state: /, /health, /latest, /metrics."
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="telemetry.toml; serve as it says")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    check = commands.add_parser("check-config", help="check a telemetry.toml and the slo.toml it names, then end")
    check.add_argument("file", type=Path)
    pair = commands.add_parser("check-certificate", help="check a PEM file with certificate, chain and key, then end")
    pair.add_argument("file", type=Path)
    publishing = commands.add_parser("publish", help="send what files/metrics.yml says to CloudWatch")
    publishing.add_argument("file", type=Path, metavar="FILE", help="telemetry.toml")
    fleet = commands.add_parser("fleet", help="serve one page of many hosts, read from their telemetry")
    fleet.add_argument("--config", type=Path, metavar="FILE", dest="file", required=True, help="fleet.toml")
    fleet.add_argument("--check", action="store_true", help="check the file and those that it names, then end")
    commands.add_parser("example-config", help="print a commented telemetry.toml")
    commands.add_parser("example-fleet", help="print a commented fleet.toml")
    options = parser.parse_args(arguments)
    if options.command in EXAMPLES:
        print(EXAMPLES[options.command], end="")
        return 0
    if options.command is None and options.config is None:
        parser.error("--config FILE is needed")
    try:
        if options.command == "check-certificate":
            print(f"{options.file}: {check_file(options.file)}")
            return 0
        if options.command == "fleet":
            show_fleet(options.file, options.check)
            return 0
        config = load_config(options.file if options.command else options.config)
        load_targets(config.slo_path)
        if options.command == "check-config":
            config.check_surroundings()
        elif options.command == "publish":
            logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
            publish(config)
        else:
            serve(make_app(config), config)
    except ConfigError as error:
        print(f"trading-telemetry: error: {error}", file=sys.stderr)
        return 2
    return 0


def show_fleet(file: Path, check: bool) -> None:
    """Serve the page of the hosts that the configuration file `file` names, until SIGTERM.

    With `check`, only check the file. Raises ConfigError when the file, or a file that it names, is wrong.
    """
    config = load_fleet(file)
    config.check_surroundings()
    if not check:
        serve(make_fleet_app(config), config)


def serve(app: Starlette, config: Served) -> None:
    """Serve `app` until SIGTERM. Raises ConfigError when the address or the certificate cannot be used."""
    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT, stream=sys.stderr)
    prepared = settings(app, config)
    try:
        prepared.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"[access] certificate_file or key_file cannot be used: {error}") from error
    server = Server(prepared)
    with listen(config) as listener:
        server.run(sockets=[listener])


def settings(app: Starlette, config: Served) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ssl_certfile=config.certificate_path,
        ssl_keyfile=config.key_path,
        loop="uvloop",
        http=GuardedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(config.trusted_proxies),
        timeout_graceful_shutdown=2,
    )


def listen(config: Served) -> socket.socket:
    try:
        listener = socket.create_server((config.address, config.port), family=family_of(config.address), backlog=512)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {config.address}:{config.port}: {error.strerror}; "
            "another process may have the port: see [http] in telemetry.toml"
        ) from error
    # Sockets that accept() returns inherit this option from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_TIMEOUT_MS)
    return listener


if __name__ == "__main__":
    sys.exit(main())
