"""A bucket whose objects are locked against deletion.

It is created, and a second run changes nothing. destroy.yml does not delete it, and reports until when its objects are
locked.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from .conftest import ROOT, Account

BUCKET = "trading-locked-123456789012-us-east-1"
LOCK_DAYS = 20


def test_a_locked_bucket_is_made_once_and_kept_by_destroy(account: Account, tmp_path: Path) -> None:
    role = "lowlatency.trading.aws_backup"
    shipped = "hosts/AROA:i-1/trading-locked-1/20261130T080000.000000Z/complete"
    put = {"bucket": BUCKET, "object": shipped, "content": "x", "mode": "put", "region": "us-east-1"}
    tasks = [
        {"name": "Make", "ansible.builtin.include_role": {"name": role}},
        {"name": "Put", "amazon.aws.s3_object": put},
        {"name": "Make again", "ansible.builtin.include_role": {"name": role}},
        {"name": "Destroy", "ansible.builtin.include_role": {"name": role, "tasks_from": "absent"}},
    ]
    given = {
        "aws_backup_account": "123456789012",
        "aws_backup_partition": "aws",
        "aws_backup_resources": [{"kind": "bucket", "name": BUCKET}],
        "aws_backup_host_names": ["trading-locked-1"],
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    play = {"name": "Lock", "hosts": "localhost", "connection": "local", "gather_facts": False}
    playbook = tmp_path / "lock.yml"
    (tmp_path / "collections").symlink_to(ROOT / "collections")
    playbook.write_text(json.dumps([{**play, "vars": given, "tasks": tasks}]))
    environment = {"trading_environment": "locked", "trading_destroy_data": "true"}
    s3 = account.client("s3")
    try:
        run = account.play(str(playbook), **environment, aws_backup_lock_days=str(LOCK_DAYS))
        assert run.code == 0, run.output
        lock = s3.get_object_lock_configuration(Bucket=BUCKET)["ObjectLockConfiguration"]
        assert lock["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": LOCK_DAYS}
        kept = s3.list_object_versions(Bucket=BUCKET)["Versions"]
        assert [one["Key"] for one in kept] == [shipped]
        said = " ".join(run.output.split())
        assert "trading-locked-1 on i-1: 1 objects" in said
        until = re.search(rf"The bucket {BUCKET} stays, .*?\) until (\S+)\.", said)
        assert until
        assert (datetime.fromisoformat(until[1]) - datetime.now(UTC)).days in (LOCK_DAYS - 1, LOCK_DAYS)
        after = run.output.partition("TASK [Make again]")[2]
        assert "changed: [localhost]" not in after, after
    finally:
        for one in s3.list_object_versions(Bucket=BUCKET).get("Versions", []):
            found = {"Bucket": BUCKET, "Key": one["Key"], "VersionId": one["VersionId"]}
            s3.delete_object(**found, BypassGovernanceRetention=True)
        s3.delete_bucket(Bucket=BUCKET)
