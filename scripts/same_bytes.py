"""Repack the collection's tarball, so that its bytes do not depend on where and when it was built."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

# The time of all members. By default it is 1980-01-01, the earliest time that every archive format can store. The
# variable SOURCE_DATE_EPOCH sets another one.
TIME_S = int(os.environ.get("SOURCE_DATE_EPOCH", 315_532_800))


def pack(tarball: Path) -> None:
    """Replace the tarball by a tarball with the same files, ordered by name, all with the same time and owner."""
    with tarfile.open(tarball) as packed:
        members = {
            member.name: (member, extracted.read() if (extracted := packed.extractfile(member)) else b"")
            for member in packed.getmembers()
        }
    listing: dict[str, Any] = json.loads(members["FILES.json"][1])
    listing["files"].sort(key=lambda one: str(one["name"]))
    manifest: dict[str, Any] = json.loads(members["MANIFEST.json"][1])
    files = _text(listing)
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(files).hexdigest()
    contents = {name: data for name, (_, data) in members.items()} | {
        "FILES.json": files,
        "MANIFEST.json": _text(manifest),
    }
    fresh = tarball.with_suffix(".new")
    with (
        fresh.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=TIME_S) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(members):
            member = members[name][0]
            member.size, member.mtime = len(contents[name]), TIME_S
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            archive.addfile(member, io.BytesIO(contents[name]))
    fresh.replace(tarball)


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
