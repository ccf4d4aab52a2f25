"""The command line of the sandbox: up, down, status, env, image, api and serve.

`api` and `serve` run in the foreground. `api` is for tests, and `up` starts `serve` in the background.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

from embedded_ec2 import lifecycle, preflight
from embedded_ec2.errors import SandboxError
from embedded_ec2.image import RECIPES, ensure_image
from embedded_ec2.state import SYSTEM_STATE, Running, Sandbox

REGION = "us-east-1"
STATUS_PATH = "/_embedded_ec2/status"
# Environment variables with proxies. Some computers reach the packages only by a proxy.
PROXIES = tuple(name for kind in ("http", "https", "all", "no") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY"))
COLUMNS = ("instance_id", "name", "state", "type", "private_address", "public_address", "machine", "cpus", "ssh")


def main(argv: list[str] | None = None) -> int:
    """Run one command of the sandbox. Return 0 on success and 1 after an error message.

    For wrong usage argparse ends the program with 2.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted; `down` removes what there is so far", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description="An embedded EC2: an API and its machines.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, description=text, help=text)
        sub.set_defaults(run=run)
        if name != "api":
            sub.add_argument("--name", type=_name, default="sandbox", help="which sandbox (default: sandbox)")
        return sub

    up = command("up", _up, "start it, and return once it answers")
    up.add_argument("--holder", default="", metavar="DIRECTORY", help="refuse a running one that another one holds")
    for kind, what in (("qemu", "machines with a kernel of their own"), ("bullseye", "machines with Debian 11")):
        up.add_argument(
            f"--{kind}",
            action="append_const",
            dest="kinds",
            const=kind,
            default=[],
            help=f"allow {what}: tag embedded-ec2:machine={kind}",
        )
    up.add_argument("--no-machines", action="store_true", help="the API alone; needs no root")
    down = command("down", _down, "remove every machine, process, device and file of it")
    down.add_argument("--holder", default="", metavar="DIRECTORY", help="refuse one that another one holds")
    image = commands.add_parser("image", help="build the image that `up` would, and start nothing")
    image.set_defaults(run=_image)
    status = command("status", _status, "list the instances and their machines")
    status.add_argument("--json", action="store_true", help="as JSON, with the machines' SSH host keys")
    command("env", _env, 'print settings for a shell: eval "$(scripts/sandbox env)"')
    api = command("api", _api, "run the API alone in the foreground, on 127.0.0.1, until interrupted")
    api.add_argument("--port", type=int, default=0, help="default: a free one; printed once it listens")
    serve = command("serve", _serve, "what `up` starts in the background; not for people")
    serve.add_argument("--slot", type=int, required=True)
    serve.add_argument("--image", nargs=2, action="append", default=[], metavar=("KIND", "PATH"))
    serve.add_argument("--ready-descriptor", type=int, required=True)
    return parser


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a name: up to 31 of a-z, 0-9 and -, not beginning with -")
    return text


def _say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


def _become_root() -> None:
    """Run this command again with sudo, when it needs root and the caller is not root."""
    if os.geteuid() == 0 or not shutil.which("sudo"):
        return
    kept = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH", *PROXIES) if name in os.environ]
    # Without this variable root would write byte code into the caller's checkout.
    argv = ["sudo", "env", *kept, "PYTHONDONTWRITEBYTECODE=1", sys.executable, "-m", "embedded_ec2", *sys.argv[1:]]
    os.execvp("sudo", argv)  # noqa: S606 (it is this very command)


def _up(arguments: argparse.Namespace) -> None:
    sandbox = Sandbox.named(arguments.name)
    if arguments.no_machines and arguments.kinds:
        raise SandboxError(f"--no-machines and --{arguments.kinds[0]}: one or the other")
    if not arguments.no_machines:
        _become_root()
    kinds = [] if arguments.no_machines else ["container", *arguments.kinds]
    running = lifecycle.up(sandbox, kinds, _say, arguments.holder)
    name = "" if sandbox.name == "sandbox" else f" --name {sandbox.name}"
    print(f"The API answers at {running.endpoint}.")
    print(f'  eval "$(scripts/sandbox env{name})"   makes AWS clients use it')
    print(f"  scripts/sandbox status{name}          shows instances and machines")
    print(f"  scripts/sandbox down{name}            removes all of it")


def _down(arguments: argparse.Namespace) -> None:
    sandbox = Sandbox.named(arguments.name)
    if sandbox.directory.is_relative_to(SYSTEM_STATE) and sandbox.directory.exists():
        _become_root()
    removed = lifecycle.down(sandbox, arguments.holder)
    print(f"Sandbox '{sandbox.name}' is gone." if removed else f"There is no sandbox '{sandbox.name}'.")


def _image(_arguments: argparse.Namespace) -> None:
    _become_root()
    preflight.require_machines_possible(qemu=False)
    print(ensure_image(RECIPES["container"], _say))


def _running(name: str) -> Running:
    running = Sandbox.named(name).running()
    if running is None:
        raise SandboxError(f"sandbox '{name}' is not up; start it with: scripts/sandbox up --name {name}")
    return running


def _status(arguments: argparse.Namespace) -> None:
    running = _running(arguments.name)
    # The API listens on loopback, so no proxy must be used.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(running.endpoint + STATUS_PATH, timeout=10) as answer:
        rows: list[dict[str, Any]] = json.load(answer)
    if arguments.json:
        print(json.dumps({"endpoint": running.endpoint, "machines": running.machines, "instances": rows}, indent=1))
        return
    for row in rows:
        if row.get("machine") == "running" and _answers_ssh(row["private_address"]):
            row["ssh"] = f"debian@{row['private_address']}"
    print(f"API: {running.endpoint}" + ("" if running.machines else " (no machines)"))
    table = [COLUMNS, *(tuple(str(row.get(column) or "-") for column in COLUMNS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _answers_ssh(address: str) -> bool:
    """Return whether the machine accepts SSH connections.

    It accepts none while it boots, or when its security groups do not allow them.
    """
    try:
        socket.create_connection((address, 22), timeout=0.5).close()
    except OSError:
        return False
    return True


def _env(arguments: argparse.Namespace) -> None:
    settings = {
        "AWS_ENDPOINT_URL": _running(arguments.name).endpoint,
        # moto accepts any credentials. These belong to nobody.
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        # Without this setting a client would query the metadata service of the network for credentials and settings.
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    # A proxy cannot reach this computer's loopback address. Set both variables, because clients read different ones.
    bypassed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host for host in bypassed.split(",") if host]
    hosts += [host for host in ("127.0.0.1", "localhost") if host not in hosts]
    settings["no_proxy"] = settings["NO_PROXY"] = shlex.quote(",".join(hosts))
    for name, value in settings.items():
        print(f"export {name}={value}")
    print("unset AWS_PROFILE AWS_SESSION_TOKEN")


def _api(arguments: argparse.Namespace) -> None:
    from embedded_ec2.application import Application, make_api_server
    from embedded_ec2.hooks import Hooks

    server = make_api_server("127.0.0.1", arguments.port, Application(Hooks()))
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


def _serve(arguments: argparse.Namespace) -> None:
    from embedded_ec2.daemon import serve

    serve(
        Sandbox.named(arguments.name),
        port=lifecycle.preferred_port(arguments.name),
        slot=arguments.slot,
        images={kind: Path(path) for kind, path in arguments.image},
        ready_descriptor=arguments.ready_descriptor,
    )
