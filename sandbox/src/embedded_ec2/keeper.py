"""The keeper, which keeps one machine for each running instance of the API. It compares the two repeatedly."""

import sys
import threading
import traceback
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded_ec2 import confinement, instances, machine
from embedded_ec2.errors import SandboxError
from embedded_ec2.firewall import render
from embedded_ec2.instances import Wanted
from embedded_ec2.ledger import Ledger
from embedded_ec2.machine import Boot, Exit, Hypervisor, Machine
from embedded_ec2.network import Router, conflict_with_host

if TYPE_CHECKING:
    from embedded_ec2.balancing import Balancers

LOOK_EVERY_SECONDS = 0.5
SETTLE_LIMIT_SECONDS = 10.0
MEMORY_LIMIT_MIB = 2048  # the most memory of a machine, even if its type has more on AWS


class Keeper:
    """The owner of the machines.

    Only the thread that calls `run` changes machines. The API's threads send requests to that thread.
    """

    def __init__(
        self, directory: Path, hypervisors: Mapping[str, Hypervisor], router: Router, ledger: Ledger, endpoint: str
    ) -> None:
        self._directory = directory
        self._endpoint = endpoint
        self._hypervisors = hypervisors
        self._router = router
        self._ledger = ledger
        self._machines: dict[str, Machine] = {}
        self._failures: dict[str, str] = {}
        self._look = threading.Event()
        self._turn = threading.Condition()
        self._turns_begun = 0
        self._turns_done = 0
        self._complaint = ""
        self._reboots: set[str] = set()
        self._balancers: Balancers | None = None

    # The following methods are called by the API's threads.

    def refusal(self, cidr: IPv4Network) -> str | None:
        return conflict_with_host(cidr, self._router.host_links)

    def request_reboot(self, instance_id: str) -> None:
        self._reboots.add(instance_id)
        self.look_again()

    def console_output(self, instance_id: str) -> str:
        try:
            return machine.console_file(self._directory / instance_id).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def look_again(self) -> None:
        self._look.set()

    def settle(self) -> None:
        # A turn that has already begun may not include the change, so wait for the next one.
        with self._turn:
            awaited = self._turns_begun + 1
            self.look_again()
            self._turn.wait_for(lambda: self._turns_done >= awaited, SETTLE_LIMIT_SECONDS)

    def balancers(self) -> "Balancers":
        if self._balancers is None:
            from embedded_ec2.balancing import Balancers
            from embedded_ec2.haproxy import HAProxy

            haproxy = HAProxy(self._directory / "balancer", self._ledger, netns=self._router.netns)
            self._balancers = Balancers(self._router, haproxy)
        return self._balancers

    def status(self) -> list[dict[str, Any]]:
        """Return a row for each instance: the API's state, the machine's state, its CPUs and its SSH host keys."""
        return [self._row(wanted) for wanted in instances.all_wanted()]

    def _row(self, wanted: Wanted) -> dict[str, Any]:
        kept = self._machines.get(wanted.instance_id)
        failure = self._failures.get(wanted.instance_id)
        state = "none" if kept is None else "stopping" if kept.is_stopping else "running"
        return instances.row(wanted) | {
            "machine": f"failed: {failure}" if failure else state,
            "cpus": confinement.render_cpus(kept.boot.cpus) if kept else "",
            "cpus_held_by": kept.cpus_held_by if kept else "",
            "host_keys": machine.host_keys(self.console_output(wanted.instance_id)),
        }

    # The following methods are called by the keeper's own thread.

    def run(self) -> None:
        """Compare the API's instances with the machines, and change the machines, repeatedly. This never returns."""
        while True:
            self._look.wait(LOOK_EVERY_SECONDS)
            self._look.clear()
            with self._turn:
                self._turns_begun += 1
            try:
                self._compare()
                self._complaint = ""
            except Exception:  # an error must not end the keeper
                self._complain(traceback.format_exc())
            with self._turn:
                self._turns_done = self._turns_begun
                self._turn.notify_all()

    def _complain(self, complaint: str) -> None:
        """Log an error, but not again while the same error repeats."""
        if complaint != self._complaint:
            self._complaint = complaint
            print(complaint, file=sys.stderr, flush=True)

    def _compare(self) -> None:
        wanted = {each.instance_id: each for each in instances.all_wanted()}
        before = list(self._machines.values())
        for kept in before:
            self._look_after(kept, wanted.get(kept.leg.instance_id))
        if len(self._machines) < len(before):
            # The instance of a machine that shut itself down is now stopped, so its machine must not be started again.
            wanted = {each.instance_id: each for each in instances.all_wanted()}
        balanced = self._balancers.guarded() if self._balancers else []
        self._router.guard(render(instances.guarded(balanced), balanced))
        for each in wanted.values():
            if each.state == "running" and each.instance_id not in self._machines:
                self._start(each)
        self._delete_terminated(frozenset(wanted))
        in_use = frozenset(kept.leg.subnet.id for kept in self._machines.values())
        if self._balancers:
            self._balancers.compare()
            in_use |= self._balancers.subnets
        self._router.disconnect_unused(in_use)

    def _look_after(self, kept: Machine, wanted: Wanted | None) -> None:
        ended = kept.exit()
        runs_on = wanted is not None and wanted.state == "running"
        if ended:
            self._put_away(kept)
            if ended is Exit.OFF and runs_on and not kept.is_stopping:
                instances.switch_off(
                    kept.leg.instance_id, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown"
                )
            elif ended is Exit.FAILED and runs_on:
                self._report_failure(kept.leg.instance_id, machine.last_words(kept.boot.directory))
        elif wanted is None or not runs_on:
            if kept.is_stopping:
                kept.insist()
            else:
                kept.shut_down()
        elif not kept.is_stopping:
            self._set_public_address(kept, wanted.public_address)
            if kept.leg.instance_id in self._reboots:
                self._reboots.discard(kept.leg.instance_id)
                kept.reboot()

    def _start(self, wanted: Wanted) -> None:
        self._failures.pop(wanted.instance_id, None)
        self._reboots.discard(wanted.instance_id)
        in_use = [kept.boot.cpus for kept in self._machines.values()]
        cpus = confinement.choose_cpus(wanted.vcpus, in_use, confinement.available_cpus(), self._router.slot)
        directory = self._directory / wanted.instance_id
        memory_mib = min(wanted.memory_mib, MEMORY_LIMIT_MIB)
        try:
            self._router.connect(wanted.subnet)
            boot = Boot(directory, wanted.leg, cpus, memory_mib, wanted.identity(self._endpoint))
            started = self._hypervisor(wanted).start(boot, self._router, self._ledger)
        except (SandboxError, OSError) as error:
            machine.put_away(wanted.instance_id, directory, self._router, self._ledger)
            self._report_failure(wanted.instance_id, str(error))
            return
        self._machines[wanted.instance_id] = started
        self._set_public_address(started, wanted.public_address)

    def _hypervisor(self, wanted: Wanted) -> Hypervisor:
        if wanted.kind not in self._hypervisors:
            raise SandboxError(
                f"tag {instances.KIND_TAG}={wanted.kind}: this sandbox runs {', '.join(self._hypervisors)}; "
                f"if `up --help` knows --{wanted.kind}, start it with that"
            )
        return self._hypervisors[wanted.kind]

    def _report_failure(self, instance_id: str, reason: str) -> None:
        """Record in the API that the machine of an instance cannot run, and that the instance is stopped."""
        self._failures[instance_id] = reason
        print(f"{instance_id}: {reason}", file=sys.stderr)
        instances.switch_off(instance_id, "Server.InternalError", reason)

    def _set_public_address(self, kept: Machine, address: str | None) -> None:
        if kept.public_address == address:
            return
        if kept.public_address:
            self._router.withdraw(kept.leg, kept.public_address)
        if address:
            self._router.publish(kept.leg, address)
        kept.public_address = address

    def _put_away(self, kept: Machine) -> None:
        self._set_public_address(kept, None)
        machine.put_away(kept.leg.instance_id, kept.boot.directory, self._router, self._ledger)
        del self._machines[kept.leg.instance_id]

    def _delete_terminated(self, existing: frozenset[str]) -> None:
        for directory in self._directory.glob("i-*"):
            if directory.name not in existing and directory.name not in self._machines:
                self._ledger.undo("tree", str(directory))
                self._failures.pop(directory.name, None)
