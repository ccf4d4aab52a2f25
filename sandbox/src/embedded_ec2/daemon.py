"""The process of a running sandbox: API servers in threads, and the keeper in the main thread.

The keeper, which starts the machines, must use the main thread, because the kernel kills a machine when the thread that
started it ends.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from werkzeug.serving import BaseWSGIServer

from embedded_ec2 import instances, processes
from embedded_ec2.application import Application, make_api_server
from embedded_ec2.hooks import Hooks
from embedded_ec2.keeper import Keeper
from embedded_ec2.ledger import Ledger
from embedded_ec2.machine import Hypervisor
from embedded_ec2.metadata import make_metadata_server
from embedded_ec2.network import METADATA_ADDRESS, Router, inside, public_slot
from embedded_ec2.nspawn import Nspawn
from embedded_ec2.qemu import Qemu, find_accelerator
from embedded_ec2.state import Running, Sandbox


def serve(sandbox: Sandbox, *, port: int, slot: int, images: Mapping[str, Path], ready_descriptor: int) -> None:
    """Run the sandbox until a signal ends this process. This function never returns.

    It writes a line to the file descriptor `ready_descriptor` when all servers answer. `images` maps each kind of
    machine that the sandbox can start to its image.
    """
    pid, started_ticks = os.getpid(), processes.start_ticks(os.getpid()) or 0
    ledger = Ledger(sandbox.ledger_file)
    ledger.add("process", f"{pid} {started_ticks}")
    servers: list[BaseWSGIServer] = []
    hooks = Hooks(public_addresses=public_slot(slot))
    keeper = None
    if images:
        router = Router(sandbox.name, slot, ledger)
        router.open()
        hypervisors = {kind: _hypervisor(kind, image) for kind, image in images.items()}
        endpoint = f"http://{METADATA_ADDRESS}:{port}"
        keeper = Keeper(sandbox.machines_directory, hypervisors, router, ledger, endpoint)
        hooks.machines = keeper
    application = Application(hooks, keeper.status if keeper else instances.rows)
    api = make_api_server("127.0.0.1", port, application)
    servers.append(api)
    if images:
        with inside(router.netns):
            servers.append(make_api_server(METADATA_ADDRESS, api.port, application))
            servers.append(make_metadata_server(METADATA_ADDRESS, 80))
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    sandbox.record(
        Running(
            pid=pid,
            started_ticks=started_ticks,
            endpoint=f"http://127.0.0.1:{api.port}",
            slot=slot,
            kinds=list(images),
        )
    )
    os.write(ready_descriptor, b"ready\n")
    os.close(ready_descriptor)
    if keeper:
        keeper.run()
    threading.Event().wait()


def _hypervisor(kind: str, image: Path) -> Hypervisor:
    return Qemu(image, find_accelerator(image)) if kind == "qemu" else Nspawn(image)
