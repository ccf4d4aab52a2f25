"""An AWS account for the tests, and playbooks that use it.

The account is the API of an embedded EC2, which runs in a separate process. Policy documents in files/iam allow the
playbooks' calls. Which documents a playbook needs depends on its variables (docs/aws.md). After each playbook, the
fixtures check that these documents allow all its calls.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.iam import calls, documents
from tests.iam.evaluate import allowed

from . import forked_python
from .inventory_of_account import contents

ROOT = Path(__file__).parents[3]
# The interpreter of the playbooks' modules on the controller is `ansible_playbook_python`, which is sys.executable.
_PLAY = "import sys; sys.executable = sys.argv.pop(1); from ansible.cli.playbook import main; sys.exit(main())"
_RECAP = re.compile(r"localhost\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


@dataclass(frozen=True)
class Run:
    """A finished playbook run: its exit code and its output.

    `ok` is the number of tasks that succeeded, and `changed` the number of tasks that changed something. `calls` is the
    number of the run's requests to AWS.
    """

    code: int
    output: str
    ok: int
    changed: int
    calls: int


@dataclass(frozen=True)
class Keys:
    """An access key of an AWS user: its id and its secret."""

    identity: str
    secret: str


@dataclass(frozen=True)
class Account:
    """The embedded EC2's API as an AWS account: its address, and the keys of two users.

    Playbooks use the keys of `deployer`. Their calls are compared with the deployer's permissions. Tests use the keys
    of `admin`, who may do everything.
    """

    url: str
    folder: Path
    public_key_file: Path
    admin: Keys
    deployer: Keys
    record: Path
    module_python: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which a program uses this AWS account and no other."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.deployer.identity,
            "AWS_SECRET_ACCESS_KEY": self.deployer.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "true",  # as ansible.cfg has it
        }

    @property
    def ansible_playbook(self) -> list[str]:
        """The command ansible-playbook. It runs the modules in processes that have already imported boto3."""
        return [sys.executable, "-c", _PLAY, str(self.module_python)]

    def client(self, service: str) -> Any:
        """Return a boto3 client of the service, with the rights to do everything."""
        return _client(self.url, service, self.admin)

    def check_permissions(self, policies: list[str]) -> None:
        """Check the calls that the playbooks have made since the last check.

        Fail when these policies do not allow a call. Also fail when a call is missing from calls.json, which the unit
        tests use.
        """
        asked = calls.read(self.record)
        self.record.unlink(missing_ok=True)
        statements = [one for name in policies for one in documents.statements(name)]
        refused = {str(need) for need in asked if not allowed(need, statements)}
        assert not refused, f"{', '.join(policies)} refuse:\n" + "\n".join(sorted(refused))
        known = {row.action for row in calls.kept()}
        unknown = set() if calls.keep(policies, asked) else {need.action for need in asked} - known
        assert not unknown, f"{sorted(unknown)} are new: {calls.HOW_TO_KEEP}"

    def order_faults(self, *faults: dict[str, Any]) -> None:
        """Make the API answer later calls with errors.

        Each fault names an action, and the error that the next calls of this action get.
        """
        url, document = f"{self.url}/_embedded_ec2/faults", json.dumps(faults).encode()
        request = urllib.request.Request(url, document, method="PUT")  # noqa: S310  our API
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  our API
            assert answer.status == 204

    def play(self, playbook: str, *arguments: str, inventory: str = "localhost,", **variables: str) -> Run:
        """Run a playbook from an empty folder and check its calls. ``variables`` are the playbook's extra variables."""
        given = {
            "trading_operator_cidr": "198.51.100.7/32",
            "trading_public_key_file": str(self.public_key_file),
            "aws_instance_reachable": "false",
            "trading_known_hosts_file": str(self.folder / "ssh" / "known_hosts"),
            **variables,
        }
        counted = self.record.with_name(f"{self.record.name}.calls")
        for file in (self.record, counted):
            file.unlink(missing_ok=True)  # what somebody else called
        extra = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
        done = subprocess.run(
            [*self.ansible_playbook, "-i", inventory, str(ROOT / "playbooks" / playbook), *extra, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        as_json = [json.loads(argument) for argument in arguments if argument.startswith("{")]
        self.check_permissions(
            documents.needed({name: str(value) for one in [given, *as_json] for name, value in one.items()})
        )
        output = done.stdout + done.stderr
        recap = _RECAP.search(done.stdout)
        ok, changed = (int(recap[1]), int(recap[2])) if recap else (0, 0)
        return Run(done.returncode, output, ok, changed, counted.stat().st_size if counted.exists() else 0)


def _client(url: str, service: str, keys: Keys) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=keys.identity,
        aws_secret_access_key=keys.secret,
    )


def _user(url: str, name: str) -> Keys:
    """Make a user with a policy that allows everything, and return the user's keys.

    Moto cannot evaluate the resources and conditions of a policy. Therefore `check_permissions` evaluates them.
    """
    iam = _client(url, "iam", Keys("root", "root"))
    iam.create_user(UserName=name)
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Keys(key["AccessKeyId"], key["SecretAccessKey"])


def _check_signatures_from_now_on(url: str) -> None:
    head = {"Content-Type": "text/plain"}  # anything else moto takes for a form
    request = urllib.request.Request(f"{url}/moto-api/reset-auth", data=b"0", headers=head)  # noqa: S310  our API
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        assert answer.status == 200


@pytest.fixture(scope="session")
def module_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the Python interpreter with which Ansible runs the modules of the playbooks."""
    with forked_python.running(tmp_path_factory.mktemp("python")) as client:
        yield client


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory, module_python: Path) -> Iterator[Account]:
    """Yield an AWS account without resources of this project. All tests of this process share it."""
    folder = tmp_path_factory.mktemp("account")
    key, record = folder / "key", folder / "needs"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sandbox' / 'src'}"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.iam.recording", str(record)], stdout=subprocess.PIPE, text=True, env=environment
    ) as api:
        try:
            assert api.stdout is not None
            found = re.search(r"http://\S+", api.stdout.readline())
            assert found, "the API ended without saying its address"
            url = found[0]
            admin, deployer = _user(url, "admin"), _user(url, "deployer")
            _check_signatures_from_now_on(url)
            (folder / "needs.key").write_text(deployer.identity)
            yield Account(url, folder, key.with_suffix(".pub"), admin, deployer, record, module_python)
        finally:
            api.terminate()
            api.wait(timeout=20)


@pytest.fixture(scope="module")
def empty(account: Account) -> set[tuple[str, str]]:
    """Return what the AWS account contains before a file's tests.

    A new AWS account already contains a default VPC and more.
    """
    return contents(account)
