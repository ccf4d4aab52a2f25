"""Copy a backup, and mark each of its journal's segments as written by another version: foreign_backup.py FROM TO"""

import io
import sys
import tarfile

VERSION_AT = slice(24, 56)  # in a segment's header

with tarfile.open(sys.argv[1]) as backup, tarfile.open(sys.argv[2], "w:gz") as copy:
    for member in backup:
        file = backup.extractfile(member) if member.isfile() else None
        data = bytearray(file.read() if file else b"")
        if member.name.endswith(".journal"):
            data[VERSION_AT] = b"0.0.1+another".ljust(32, b"\0")
        copy.addfile(member, io.BytesIO(data) if file else None)
