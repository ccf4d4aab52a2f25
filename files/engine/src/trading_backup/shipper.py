"""The shipper: it watches the journal's directory and uploads new data to the bucket.

The shipper only reads the engine's files, and the engine does not depend on the shipper.
"""

import hashlib
import logging
import os
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trading_backup import names, state, tail
from trading_backup.bucket import BucketError
from trading_backup.config import Config
from trading_backup.state import Sent, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECT_BYTES = 8 << 20
"""The largest number of bytes of a segment in one object. They are held in memory during the upload."""
EMPTY = hashlib.sha256().hexdigest()
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LOSS_TOLD_S = 3600.0
"""For this time a lost segment counts as unsent data, so that the alarm for unsent data goes on."""
CLEAN_NOTED_S = 60.0
"""The time between two writes of the state file while there is nothing to send."""
DAY_S = 86_400
SETTLED_S = 0.1
"""A file's modification time shows later writes only when it is older than this, because such times are coarse."""

logger = logging.getLogger("trading-backup")


class Target(Protocol):
    """The interface to which the shipper sends objects: a Bucket, or a replacement for it in tests."""

    objects: int

    def user_id(self) -> str: ...

    def put(self, key: str, body: Any, digest: str) -> None: ...


class BrokenSeriesError(Exception):
    """The journal no longer matches the data that was sent, so a new series of objects must begin.

    The message says why.
    """


class Shipper:
    """The process that sends the journal, snapshots and files to the bucket. Call `look` every few seconds.

    Errors of the bucket or the disk are not raised: they are logged, are part of the status, and cause another attempt.
    """

    def __init__(self, config: Config, bucket: Target) -> None:
        self._config = config
        self._bucket = bucket
        self._sent = state.load(config.state)
        self._hash = hashlib.sha256()
        self._hash_known = False
        self._seen: tuple[int, int, int] | None = None
        self._inode = 0
        self._noted_s = 0.0
        self._error = ""
        self._failing_since_s = 0.0
        self._pause_s = 0.0
        self._retry_at_s = 0.0

    def look(self, now_s: float) -> Status:
        """Send all data that is due, and return the status. `now_s` is the present Unix time.

        After a failure nothing is sent for a while. That pause is longer after each further failure.
        """
        self._sent.clean_s = self._sent.clean_s or now_s  # the first time, the age of unsent data counts from now
        if now_s >= self._retry_at_s:
            try:
                problem = self._ship(now_s)
                self._pause_s = 0.0
            except (BucketError, OSError) as error:
                problem = str(error)
                self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                self._retry_at_s = now_s + self._pause_s
            self._tell(problem, now_s)
        return self._status(now_s)

    def _tell(self, problem: str, now_s: float) -> None:
        """Log `problem` if it differs from the last one, and remember when the problems began.

        An empty text means that there is no problem.
        """
        if problem and problem != self._error:
            logger.warning("next try in %.0f s: %s", self._pause_s, problem)
        self._failing_since_s = (self._failing_since_s or now_s) if problem else 0.0
        self._error = problem

    # -- sending ------------------------------------------------------------------------------------------------------
    def _ship(self, now_s: float) -> str:
        """Send all data that is due. Return a text about configuration files that cannot be read, or "".

        Such a file raises no error, because it must not delay the journal. Raises BucketError or OSError for other
        problems.
        """
        if not tail.segments(self._config.journal):
            raise BucketError(f"{self._config.journal} has no journal: is its volume mounted, and is it the engine's?")
        prefix = names.host_prefix(self._bucket.user_id(), self._config.host)
        if self._sent.prefix != prefix or not self._sent.series:
            self._begin(now_s, prefix, "the host has none")
        elif self._sent.complete and now_s - self._sent.begun_s > self._config.series_days * DAY_S:
            self._begin(now_s, prefix, f"the last one is {self._config.series_days} days old")
        try:
            self._journal(now_s)
        except BrokenSeriesError as error:
            self._begin(now_s, prefix, str(error))
            try:
                self._journal(now_s)
            except BrokenSeriesError as again:  # the journal is just being replaced: try again at the next look
                raise BucketError(str(again)) from again
        unread = self._files(now_s)
        if not self._sent.complete:
            self._put(names.COMPLETE, b"", EMPTY)
            self._sent.complete = True
            self._note()
        return unread

    def _begin(self, now_s: float, prefix: str, reason: str) -> None:
        """Begin a new series at the newest snapshot. Without a snapshot begin it at the oldest segment.

        If possible begin it earlier: at the previous snapshot, or at the journal's first segment. A restore can then
        check the newest snapshot by a replay. Between the two there may be at most MOST_PROVING segments, and all of
        them must exist.
        """
        old = self._sent
        snapshots, segments = tail.snapshots(self._config.journal), tail.segments(self._config.journal)
        first = snapshots[-1] if snapshots else segments[0] if segments else 1
        needed = first
        before = snapshots[-2] if len(snapshots) > 1 else 1
        if first - before <= names.MOST_PROVING and set(range(before, first)) <= set(segments):
            first = before
        self._sent = Sent(
            prefix=prefix,
            series=names.series(now_s),
            begun_s=now_s,
            segment=first,
            first=first,
            needed=needed,
            clean_s=old.clean_s,
            lost_segments=old.lost_segments,
            lost_s=old.lost_s,
            lost_since_s=old.lost_since_s,
        )
        self._seen = None
        self._hash, self._hash_known = hashlib.sha256(), True
        logger.info("series %s begins at segment %d: %s", self._sent.series, first, reason)
        self._note()

    def _journal(self, now_s: float) -> None:
        present = tail.segments(self._config.journal)
        while self._segment(present, now_s):
            pass
        self._snapshots()

    def _segment(self, present: list[int], now_s: float) -> bool:
        """Send the part of the current segment that is due. Return whether the segment is now complete in the bucket.

        A segment does not change any more (it is sealed) once a later segment exists. Then all its bytes are due. The
        bytes of the last segment are due when all data was sent more than half of `rpo_seconds` ago. So not every call
        of `look` makes an object.
        """
        sent = self._sent
        if sent.segment not in present:
            later = [number for number in present if number > sent.segment]
            if later:
                self._lose(max(sent.segment, sent.needed), later[0], now_s)
                raise BrokenSeriesError(f"segment {sent.segment} was deleted before it was sent")
            if present and present[-1] < sent.segment - 1:
                raise BrokenSeriesError(f"the journal ends at segment {present[-1]}, before {sent.segment}")
            self._clean(now_s)
            return False
        sealed = present[-1] > sent.segment
        path = self._path(sent.segment)
        status = path.stat()
        seen = (sent.segment, status.st_mtime_ns, status.st_size)
        if seen == self._seen and not sealed and sent.complete:
            self._clean(now_s)
            return False
        if status.st_ino != self._inode:  # the file was replaced, for example by a restore
            self._inode, self._hash_known = status.st_ino, False
        with _opened(path) as descriptor:
            self._continue(descriptor)
            end = tail.end_of_data(descriptor, sent.sent_bytes)
            due = sealed or not sent.complete or now_s - sent.clean_s >= self._config.rpo_seconds / 2
            while due and sent.sent_bytes < end:
                self._range(descriptor, min(end, sent.sent_bytes + OBJECT_BYTES))
            if sealed:
                self._seal(descriptor, end)
                return True
        if sent.sent_bytes == end:
            if now_s - status.st_mtime > SETTLED_S:
                self._seen = seen
            self._clean(now_s)
        return False

    def _clean(self, now_s: float) -> None:
        """Remember that all data up to `now_s` is sent. Write the time to the disk once in CLEAN_NOTED_S seconds."""
        self._sent.clean_s = now_s
        if now_s - self._noted_s >= CLEAN_NOTED_S:
            self._noted_s = now_s
            self._note()

    def _continue(self, descriptor: int) -> None:
        """Compute the hash of those bytes of the current segment that were sent, unless it is known already.

        Raises BrokenSeriesError when the segment does not have these bytes any more.
        """
        if self._hash_known:
            return
        self._hash = hashlib.sha256()
        try:
            for data in tail.chunks(descriptor, 0, self._sent.sent_bytes):
                self._hash.update(data)
        except OSError as error:
            raise BrokenSeriesError(f"segment {self._sent.segment} is shorter than what was sent of it") from error
        if self._sent.sent_bytes and self._hash.hexdigest() != self._sent.sent_digest:
            raise BrokenSeriesError(f"segment {self._sent.segment} is not what was sent of it")
        self._hash_known = True

    def _range(self, descriptor: int, end: int) -> None:
        sent = self._sent
        data = b"".join(tail.chunks(descriptor, sent.sent_bytes, end))
        digest = hashlib.sha256(data).hexdigest()
        self._put(names.of_range(sent.segment, sent.sent_bytes, end, digest), data, digest)
        self._hash.update(data)
        sent.sent_bytes, sent.sent_digest = end, self._hash.hexdigest()
        self._note()

    def _seal(self, descriptor: int, end: int) -> None:
        """Upload the object that marks the segment as complete, and go to the next segment.

        Raises BrokenSeriesError when the segment's bytes are not those that were sent.
        """
        self._hash_known = False
        self._continue(descriptor)
        digest = self._hash.hexdigest()
        size = os.fstat(descriptor).st_size
        self._put(names.of_seal(self._sent.segment, end, size, digest), b"", EMPTY)
        self._next(self._sent.segment + 1)

    def _next(self, segment: int) -> None:
        self._sent.segment, self._sent.sent_bytes, self._sent.sent_digest = segment, 0, ""
        self._hash, self._hash_known = hashlib.sha256(), True
        self._note()

    def _lose(self, first: int, end: int, now_s: float) -> None:
        if first >= end:  # the missing segments are not needed, because a snapshot is newer
            return
        sent = self._sent
        sent.lost_segments += end - first
        sent.lost_s, sent.lost_since_s = now_s, sent.clean_s
        logger.error("%d segments were deleted before they were sent, from %d on", end - first, first)

    def _snapshots(self) -> None:
        """Send two snapshots, unless they were sent before.

        They are the one with which the series begins, and the newest one. A restore does not need the snapshots between
        these two.
        """
        found = tail.snapshots(self._config.journal)
        for number in found:
            if number > self._sent.snapshot and number in (self._sent.first, found[-1]):
                self._snapshot(number)

    def _snapshot(self, number: int) -> None:
        try:
            with open(self._config.journal / f"{number:012d}.snapshot", "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                self._put(names.of_snapshot(number, digest), file, digest)
        except FileNotFoundError:  # the engine has deleted it, because there is a newer snapshot
            return
        self._sent.snapshot = number
        self._note()

    def _files(self, now_s: float) -> str:
        """Send each new or changed configuration file. Return a text that names the unreadable files, or ""."""
        unread = []
        for path in sorted({found for pattern in self._config.files for found in glob(pattern)}):
            try:
                self._file(path, now_s)
            except FileNotFoundError:  # it was removed after glob() had found it
                continue
            except OSError as error:
                unread.append(f"cannot read {path}: {error.strerror or error}")
        return "; ".join(unread)

    def _file(self, path: str, now_s: float) -> None:
        status = os.stat(path)
        version = f"{status.st_mtime_ns}-{status.st_size}"
        if self._sent.files.get(path) == version:
            return
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            self._put(names.of_file(path, now_s, digest), file, digest)
        self._sent.files[path] = version
        self._note()

    def _put(self, name: str, body: Any, digest: str) -> None:
        self._bucket.put(f"{self._sent.prefix}{self._sent.series}/{name}", body, digest)

    def _note(self) -> None:
        state.keep(self._config.state, self._sent)

    def _path(self, segment: int) -> Path:
        return self._config.journal / f"{segment:012d}.journal"

    # -- status -------------------------------------------------------------------------------------------------------
    def _status(self, now_s: float) -> Status:
        sent = self._sent
        backlog = 0
        with suppress(OSError):
            backlog = self._backlog_bytes()
        age_s = max(now_s - sent.clean_s, 0.0) if backlog and sent.clean_s else 0.0
        if self._failing_since_s:  # a failure counts even if no data is waiting, or if the journal cannot be read
            age_s = max(age_s, now_s - self._failing_since_s)
        if sent.lost_s and now_s - sent.lost_s < LOSS_TOLD_S:
            age_s = max(age_s, now_s - sent.lost_since_s)
        return Status(
            looked_s=now_s,
            rpo_seconds=self._config.rpo_seconds,
            backlog_bytes=backlog,
            oldest_unsent_seconds=age_s,
            lost_segments=sent.lost_segments,
            lost_s=sent.lost_s,
            objects=self._bucket.objects,
            error=self._error,
        )

    def _backlog_bytes(self) -> int:
        present = tail.segments(self._config.journal)
        waiting = [number for number in present if number >= self._sent.segment]
        total = 0
        for number in waiting:
            begin = self._sent.sent_bytes if number == self._sent.segment else 0
            with _opened(self._path(number)) as descriptor:
                total += tail.end_of_data(descriptor, begin) - begin
        return total


@contextmanager
def _opened(path: Path) -> "Iterator[int]":
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
