#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that makes an archive for a restore from the objects that a host has uploaded to its bucket."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: journal_fetch
short_description: Make an archive for a restore from a host's objects in its bucket
version_added: 0.2.0
description:
  - Find the newest complete series of objects that a host has uploaded to the bucket. Fetch its newest snapshot, the
    journal after it and the configuration. Check each object against the SHA-256 in its name, and pack them in the
    form of the archives of C(playbooks/backup.yml).
  - Add the previous snapshot and the journal between the two. From them the engine checks the newest snapshot before
    it is restored. Give a warning when the series lacks them, or when one of them is changed.
  - Fail when several instances have uploaded under the host's name and O(instance) is empty. Leave out an instance that
    has uploaded under several host names, because it may have forged another host's backup.
  - Fail with the name of the object when any other object is missing, foreign or changed. Then no archive is written.
  - Keep the hashes of the accounts' passwords, because the bucket does not have the passwords. A test account gets a
    new password with the restore.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  bucket:
    description: The bucket's name.
    type: str
    required: true
  owner:
    description: The number of the AWS account that must own the bucket.
    type: str
    required: true
  host:
    description: The host's name.
    type: str
    required: true
  instance:
    description: >-
      The id of the instance whose backup is meant. Required when several instances have uploaded under the host's name.
    type: str
    default: ""
  dest:
    description: The archive's path on the controller. An existing archive stays, unless O(replace) is set.
    type: path
    required: true
  replace:
    description: Replace an existing archive when the new one is complete.
    type: bool
    default: false
  release_dir:
    description: >-
      The directory on the controller for the release that the host ran last, if the series has its wheels. When it is
      empty, no release is fetched.
    type: str
    default: ""
  project:
    description: >-
      The project from which the controller's own release is built, as in M(lowlatency.trading.wheel_set). Its name is
      compared with the name of the host's release.
    type: path
  wheel_dir:
    description: The directory of ready wheels, when the controller's own release consists of these.
    type: path
  optional:
    description: Do nothing instead of failing when the bucket has no object of the host.
    type: bool
    default: false
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    description: >-
      Can run in check mode, in which no archive is written. The release's wheels are read to find its name.
    support: full
  diff_mode:
    description: Returns no details of a change.
    support: none
"""

EXAMPLES = r"""
- name: Make the archive of a host that is gone
  lowlatency.trading.journal_fetch:
    bucket: trading-production-123456789012-us-east-1
    owner: "123456789012"
    host: trading-production-1
    dest: ~/backups/trading-production-1.tar.gz
    region: us-east-1
"""

RETURN = r"""
instance:
  description: The id of the instance that uploaded the objects; empty when nothing was fetched.
  type: str
  returned: success
  sample: i-0123456789abcdef0
series:
  description: The name of the series, which is the time at which it began.
  type: str
  returned: success
  sample: 20261130T073054.000000Z
newest:
  description: The upload time of the newest object of the series, in UTC.
  type: str
  returned: success
  sample: "2026-11-30T08:00:00+00:00"
release:
  description: The release that the host ran last; empty when the series does not have its wheels.
  type: str
  returned: success
  sample: 0123456789abcdef
release_archive:
  description: >-
    The path of that release's archive on the controller, for the option C(archive) of M(lowlatency.trading.wheel_set);
    empty without one.
  type: str
  returned: success
release_sha256:
  description: The SHA-256 of that archive; empty without one.
  type: str
  returned: success
controller_release:
  description: >-
    The same as RV(release) when the controller's own release, built for some kind of host, is that release. Otherwise
    the controller's release for a host of the same kind. It is empty when the names of the host's wheels do not contain
    its kind.
  type: str
  returned: success
segments:
  description: The number of journal segments.
  type: int
  returned: success
objects:
  description: The number of objects that were fetched.
  type: int
  returned: success
"""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, journal_bucket
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.journal_bucket import (
    Backup,
    BackupError,
    Part,
    Segment,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.release.release import (
    ReleaseError,
    archived,
    own_counterpart,
)

JOURNAL = "var/lib/trading/journal"
SECRETS = "etc/trading/secrets"
ACCOUNTS = "/etc/trading/accounts.toml"
IN_FORCE = "/opt/trading/current/.complete"
WHEELS = "/opt/trading/wheels/"
_WHEELS = re.compile(rf"{WHEELS}[0-9a-f]{{16}}\.tar")
_WAY_OUT = "-e aws_backup_release=controller rebuilds with the controller's release"
_SIDE_BY_SIDE = 16
# The number of zeros after the records of a segment that was still being written. The engine cuts them off at its next
# start.
_ZEROS = 1 << 16
_ACCOUNT = re.compile(r"^\[accounts\.(\w+)\]\n((?:.+\n?)*)", re.MULTILINE)
_PASSWORD = re.compile(r'^password = "([^"]+)"$', re.MULTILINE)


def observe(client: Any, bucket: str, owner: str) -> dict[str, Any]:
    """Return a dictionary: object's name → its upload time, for all objects that hosts have uploaded."""
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=journal_bucket.PREFIX, ExpectedBucketOwner=owner
    )
    return {one["Key"]: one["LastModified"] for page in pages for one in page.get("Contents", [])}


def plan(observed: dict[str, Any], given: dict[str, Any]) -> Backup | None:
    """Return the backup to archive, or None when the host has uploaded nothing and the option `optional` is set.

    Raises BackupError when there is no usable backup.
    """
    if given["optional"] and given["host"] not in journal_bucket.hosts(observed):
        return None
    return journal_bucket.choose(observed, given["host"], given["instance"])


def newest(observed: dict[str, Any], host: str, backup: Backup) -> str:
    """Return the upload time of the newest object in the series to which the backup belongs, in ISO 8601 form."""
    of_series = (f":{backup.instance}/{host}/{backup.series}/", f"/{backup.instance}/{host}/{backup.series}/")
    return str(max(when for key, when in observed.items() if any(part in key for part in of_series)).isoformat())


class Source:
    """The reader of the bucket's objects. It checks each object against the SHA-256 in its name."""

    def __init__(self, client: Any, bucket: str, owner: str) -> None:
        self._client = client
        self._bucket = bucket
        self._owner = owner
        self.objects = 0

    def read(self, part: Part) -> bytes:
        """Return the content of an object. Raises BackupError when its SHA-256 is not the one in its name."""
        answer = self._client.get_object(Bucket=self._bucket, Key=part.key, ExpectedBucketOwner=self._owner)
        data: bytes = answer["Body"].read()
        if hashlib.sha256(data).hexdigest() != part.digest:
            raise BackupError(f"{part.key}: its content is not what its name says: somebody has tampered with it")
        self.objects += 1
        return data

    def segment(self, segment: Segment, into: Path) -> None:
        """Write the file of a journal segment from the objects that contain its parts.

        Raises BackupError when the bytes do not match the length in a name or the digest in the segment's seal.
        """
        digest = hashlib.sha256()
        with into.open("wb") as file, ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for one, data in zip(segment.ranges, pool.map(self.read, [one.part for one in segment.ranges])):
                if len(data) != one.end - one.start:
                    raise BackupError(f"{one.part.key}: {len(data)} bytes, and its name says {one.end - one.start}")
                digest.update(data)
                file.write(data)
            end = file.tell()
            file.truncate(segment.seal.size if segment.seal else end + _ZEROS)
        if segment.seal and digest.hexdigest() != segment.seal.digest:
            raise BackupError(f"segment {segment.number}: its bytes are not those that the object that ends it tells")


def hashes(accounts: str) -> dict[str, str]:
    """Return a dictionary: account → password hash, from the text of accounts.toml. Test accounts are left out."""
    found = {}
    for name, table in _ACCOUNT.findall(accounts):
        password = _PASSWORD.search(table)
        if password and "test = true" not in table.splitlines():
            found[name] = password[1]
    return found


def proof(source: Source, backup: Backup, folder: Path) -> tuple[list[tuple[str, Path | bytes]], str]:
    """Return the files that are needed only to check the newest snapshot, and a reason why they are missing.

    The reason is empty when all are there. When one of their objects does not match its name, return no files. A
    restore is possible without them.
    """
    newest = max((number for number, _part in backup.snapshots), default=0)
    found: list[tuple[str, Path | bytes]] = []
    try:
        for number, part in backup.snapshots:
            if number < newest:
                found.append((f"{JOURNAL}/{number:012d}.snapshot", source.read(part)))
        for segment in backup.segments:
            if segment.number < newest:
                path = folder / f"{segment.number:012d}.journal"
                source.segment(segment, path)
                found.append((f"{JOURNAL}/{path.name}", path))
    except BackupError as error:
        return [], f"the newest snapshot is not compared with a replay: {error}"
    return found, ""


def members(
    source: Source, backup: Backup, folder: Path, proving: Sequence[tuple[str, Path | bytes]]
) -> Iterator[tuple[str, Path | bytes | None]]:
    """Yield the archive's members as (name, content). The content is bytes or a path, or None for a directory."""
    newest = max((number for number, _part in backup.snapshots), default=0)
    yield JOURNAL, None
    yield SECRETS, None
    yield from proving
    for number, part in backup.snapshots:
        if number == newest:
            yield f"{JOURNAL}/{number:012d}.snapshot", source.read(part)
    for segment in backup.segments:
        if segment.number < newest:
            continue
        path = folder / f"{segment.number:012d}.journal"
        source.segment(segment, path)
        yield f"{JOURNAL}/{path.name}", path
        path.unlink()
    for file in backup.files:
        if not file.path.startswith("/etc/"):
            continue  # it belongs to the release, not to the state
        data = source.read(file.part)
        yield file.path.lstrip("/"), data
        if file.path == ACCOUNTS:
            for name, hashed in hashes(data.decode("utf-8", "replace")).items():
                yield f"{SECRETS}/{name}.hash", f"{hashed}\n".encode()


class Release(NamedTuple):
    """The release that a host ran last. All fields are empty when the bucket lacks it."""

    name: str = ""
    archive: str = ""
    digest: str = ""
    wheels: Sequence[str] = ()


def release(source: Source, backup: Backup, folder: Path | None) -> tuple[Release, list[str]]:
    """Return the release that the host ran last, and the errors of releases that cannot be read.

    The files of the release are written to the folder, if one is given. After a rollback the bucket also has the wheels
    of another release. So the right release is the one whose wheels the host recorded as installed. Raises BackupError
    when an unreadable release may be the right one.
    """
    parts = {file.path: file.part for file in backup.files}
    if IN_FORCE not in parts:
        return Release(), []
    try:
        noted = json.loads(source.read(parts[IN_FORCE]))["wheels"]
    except BackupError as error:
        raise BackupError(f"{error}; {_WAY_OUT}") from error
    except (ValueError, KeyError, TypeError, RecursionError):  # an old release did not record its wheels
        return Release(), []
    unreadable = []
    for part in (part for path, part in parts.items() if _WHEELS.fullmatch(path)):
        try:
            data = source.read(part)
            name, wheels = archived(data)
        except BackupError as error:
            unreadable.append(str(error))
            continue
        except ReleaseError as error:
            unreadable.append(f"{part.key}: {error}")
            continue
        if wheels == noted:
            if folder is None:
                return Release(name, "", part.digest, tuple(wheels)), unreadable
            archive = folder / f"{name}.tar"
            folder.mkdir(0o700, parents=True, exist_ok=True)
            archive.write_bytes(data)
            return Release(name, str(archive), part.digest, tuple(wheels)), unreadable
    if unreadable:
        raise BackupError(f"{'; '.join(unreadable)}; {_WAY_OUT}")
    return Release(), []


def apply(source: Source, backup: Backup, dest: Path) -> list[str]:
    """Write the archive atomically. Return a list of warnings."""
    with tempfile.TemporaryDirectory(dir=dest.parent) as folder:
        scratch = Path(folder) / "archive.tar.gz"
        proving, problem = proof(source, backup, Path(folder))
        with tarfile.open(scratch, "w:gz", compresslevel=1) as archive:
            for name, content in members(source, backup, Path(folder), proving):
                entry = tarfile.TarInfo(name)
                if content is None:
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o750 if name == JOURNAL else 0o700
                    archive.addfile(entry)
                    continue
                entry.mode = 0o640 if name.startswith(JOURNAL) else 0o600
                if isinstance(content, Path):
                    entry.size = content.stat().st_size
                    with content.open("rb") as file:
                        archive.addfile(entry, file)
                else:
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        scratch.chmod(0o600)
        os.replace(scratch, dest)
    return [problem] if problem else []


def main() -> None:
    """Read the bucket, fetch the objects and pack the archive."""
    module = AnsibleAWSModule(
        argument_spec={
            "bucket": {"type": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "instance": {"type": "str", "default": ""},
            "dest": {"type": "path", "required": True},
            "replace": {"type": "bool", "default": False},
            "release_dir": {"type": "str", "default": ""},
            "project": {"type": "path"},
            "wheel_dir": {"type": "path"},
            "optional": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    dest = Path(given["dest"])
    nothing = {"changed": False, "instance": "", "series": "", "newest": "", "segments": 0, "objects": 0}
    nothing |= dict.fromkeys(("release", "release_archive", "release_sha256", "controller_release"), "")
    if dest.exists() and not given["replace"]:
        module.exit_json(**nothing)
    client = aws.client(module, "s3")
    source = Source(client, given["bucket"], given["owner"])
    report = nothing
    try:
        with aws.explained(module, f"read the bucket {given['bucket']}"):
            observed = observe(client, given["bucket"], given["owner"])
            planned = plan(observed, given)
            if planned is not None:
                found, own = Release(), ""
                remarks = [*planned.remarks]
                if not module.check_mode:
                    remarks += apply(source, planned, dest)
                if given["release_dir"]:
                    folder = None if module.check_mode else Path(given["release_dir"])
                    found, unreadable = release(source, planned, folder)
                    remarks += unreadable
                if found.name:
                    inputs = (Path(given[key]) if given[key] else None for key in ("project", "wheel_dir"))
                    own = own_counterpart(found.name, found.wheels, *inputs)
                for remark in remarks:
                    module.warn(f"{given['bucket']}: {remark}")
                report = {
                    "changed": True,
                    "instance": planned.instance,
                    "series": planned.series,
                    "newest": newest(observed, given["host"], planned),
                    "segments": len(planned.segments),
                    "objects": source.objects,
                    "release": found.name,
                    "release_archive": found.archive,
                    "release_sha256": found.digest,
                    "controller_release": own,
                }
    except BackupError as error:
        module.fail_json(msg=f"{given['bucket']}: {error}")
    except ReleaseError as error:
        module.fail_json(msg=f"the controller's own release: {error}")
    module.exit_json(**report)


if __name__ == "__main__":
    main()
