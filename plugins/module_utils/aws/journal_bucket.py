# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that select the objects of a backup bucket from which one host's journal directory can be restored.

The modules journal_fetch and journal_backup_info use them. They take names of objects and return a plan, without
requests to AWS. trading_backup/names.py in files/engine defines the names. Each name contains the kind of its object
and the SHA-256 of its content. So a missing, foreign or changed object is detected and named.

A series is a set of objects that is sufficient for a restore. It begins with a snapshot, or with the journal's first
segment, and contains everything after that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from math import inf
from typing import NamedTuple

PREFIX = "hosts/"
_HOST = re.compile(r"hosts/(?P<user>[^/]+)/(?P<host>[^/]+)/(?P<series>\d{8}T\d{6}\.\d{6}Z)/(?P<name>.+)")
_SHA = r"(?P<digest>[0-9a-f]{64})"
_RANGE = re.compile(rf"journal/(?P<segment>\d{{12}})/(?P<start>\d{{12}})-(?P<end>\d{{12}})\.{_SHA}")
_SEAL = re.compile(rf"journal/(?P<segment>\d{{12}})/sealed-(?P<end>\d{{12}})-(?P<size>\d{{12}})\.{_SHA}")
_SNAPSHOT = re.compile(rf"snapshot/(?P<segment>\d{{12}})\.{_SHA}")
_FILE = re.compile(rf"file/(?P<time>\d{{8}}T\d{{6}}\.\d{{6}}Z)\.{_SHA}(?P<path>/.+)")
_COMPLETE = "complete"
# At most this many segments are replayed to check a snapshot, so that a restore stays short. Usually one is enough.
MOST_PROVING = 4
_FOREIGN = "a foreign object; nothing of ours has such a name. Look who put it, and move it away"


class BackupError(Exception):
    """The bucket holds no usable backup. The message names the object and says what to do."""


class Part(NamedTuple):
    """An object of the bucket: its name, and the SHA-256 of its content, which the name contains."""

    key: str
    digest: str


class Range(NamedTuple):
    """A range of a segment's bytes, from `start` up to but excluding `end`, and the object that contains them."""

    start: int
    end: int
    part: Part


class Seal(NamedTuple):
    """The data of a complete segment: where its records end, the SHA-256 of these records, and the size of the file.

    Zeros fill the file after the records.
    """

    end: int
    size: int
    digest: str


class Segment(NamedTuple):
    """A segment of the journal, given as ranges of bytes in order.

    A segment without a seal is the last one, which the host was still writing.
    """

    number: int
    ranges: Sequence[Range]
    seal: Seal | None


class File(NamedTuple):
    """The latest version of a configuration file of the host."""

    path: str
    part: Part


class Backup(NamedTuple):
    """All parts of a host's journal directory.

    These are the newest snapshot and the journal after it. If the series also has the previous snapshot and the journal
    between the two snapshots, these are included. From the previous snapshot and that journal, `trading-engine
    check-state` computes the newest snapshot again, to check it.
    """

    instance: str
    series: str
    snapshots: Sequence[tuple[int, Part]]
    segments: Sequence[Segment]
    files: Sequence[File]
    remarks: Sequence[str]


# For each (host, user, series) its objects: name → (key, upload time). A user is the AWS user id of an instance's role.
_Series = Mapping[tuple[str, str, str], Mapping[str, tuple[str, datetime]]]


class _Found(NamedTuple):
    ranges: dict[int, list[Range]]
    seals: dict[int, Seal]
    snapshots: dict[int, Part]
    files: dict[str, Part]


def whose(key: str) -> tuple[str, str] | None:
    """Return (host, instance id) of the host that uploaded an object, or None for an object that no host uploaded."""
    match = _HOST.fullmatch(key)
    return (match["host"], _instance(match["user"])) if match else None


def hosts(keys: Iterable[str]) -> list[str]:
    """Return the names of the hosts that have uploaded objects, sorted."""
    return sorted({found[0] for found in map(whose, keys) if found})


def choose(keys: Mapping[str, datetime], host: str, instance: str = "") -> Backup:
    """Return the backup from the host's newest complete series. Raises BackupError when there is none.

    ``keys`` maps each object's name to its upload time. ``instance`` restricts the search to one instance.

    An object's name contains a user id and a host name. AWS guarantees the user id, but the host itself chooses the
    host name. So an instance that uploaded under several host names is left out, except when ``instance`` names it.
    """
    series, strays = _sorted(keys)
    names: dict[str, set[str]] = {}
    for named, user, _name in series:
        names.setdefault(user, set()).add(named)
    ours = sorted(user for user, named in names.items() if host in named)
    doubtful = [user for user in ours if len(names[user]) > 1 and _instance(user) != instance]
    remarks = [
        f"what {user} has shipped as {host} is left out, because it has shipped under the names "
        f"{', '.join(sorted(names[user]))}: look why, and name {_instance(user)} to take it"
        for user in doubtful
    ]
    ours = [user for user in ours if user not in doubtful]
    last = {user: _last(series, host, user) for user in ours}
    told = [f"{_instance(user)} (until {last[user].isoformat()})" for user in sorted(ours, key=lambda one: last[one])]
    if instance:
        ours = [user for user in ours if _instance(user) == instance]
    if not ours:
        text = f"the bucket has nothing of {host}" + (f" on {instance}" if instance else "")
        raise BackupError("; ".join([text + (f", but of {', '.join(told)}" if told else ""), *remarks]))
    for key in strays:
        if key.split("/")[1] in ours:
            raise BackupError(f"{key}: {_FOREIGN}")
    of_host = {(name, user): objects for (named, user, name), objects in series.items() if named == host}
    complete = [(name, user) for (name, user), objects in of_host.items() if user in ours and _COMPLETE in objects]
    if not complete:
        half = min(name for name, user in of_host if user in ours)
        raise BackupError(f"{half}: the only series of {host} is half-written: its object `complete` is missing")
    if len({user for _name, user in complete}) > 1:
        raise BackupError(
            f"several instances have shipped as {host}: {', '.join(told)}. Say whose backup is meant: "
            "-e aws_backup_instance=i-… (the option `instance`)"
        )
    if len(told) > 1:
        remarks.append(f"of the instances that have shipped as {host}, {', '.join(told)}, {instance} is taken")
    name, user = max(complete)
    found = _read(of_host[name, user])
    where = f"{host}, series {name}"
    newest = max(found.snapshots, default=1)
    segments = list(_segments(found, newest, where))
    older, proving, reason = _proving(found, newest, where)
    if reason:
        remarks.append(f"the newest snapshot is not compared with a replay: {reason}")
    snapshots = [(number, found.snapshots[number]) for number in (older, newest) if number in found.snapshots]
    files = [File(path, part) for path, part in sorted(found.files.items())]
    return Backup(_instance(user), name, snapshots, [*proving, *segments], files, remarks)


def _sorted(keys: Mapping[str, datetime]) -> tuple[_Series, list[str]]:
    """Return the keys of objects sorted into series, and all other keys.

    The first result maps (host, user, series) to the objects of the series. The other keys do not have the form of keys
    that hosts use.
    """
    series: dict[tuple[str, str, str], dict[str, tuple[str, datetime]]] = {}
    strays = []
    for key, came in keys.items():
        match = _HOST.fullmatch(key)
        if match is None:
            strays.append(key)
            continue
        which = (match["host"], match["user"], match["series"])
        series.setdefault(which, {})[match["name"]] = (key, came)
    return series, strays


def _last(series: _Series, host: str, user: str) -> datetime:
    """Return the upload time of the newest object that a user uploaded under a host's name."""
    return max(
        came
        for (named, one, _name), objects in series.items()
        if (named, one) == (host, user)
        for _key, came in objects.values()
    )


def _instance(user: str) -> str:
    return user.rpartition(":")[2]


def _read(objects: Mapping[str, tuple[str, datetime]]) -> _Found:
    """Return the objects of a series, sorted by kind: ranges, seals, snapshots and files.

    Raises BackupError for an object whose name belongs to no known kind.
    """
    found = _Found({}, {}, {}, {})
    at: dict[str, tuple[datetime, str]] = {}
    for name, (key, came) in objects.items():
        if name == _COMPLETE:
            continue
        if match := _RANGE.fullmatch(name):
            part = Part(key, match["digest"])
            found.ranges.setdefault(int(match["segment"]), []).append(
                Range(int(match["start"]), int(match["end"]), part)
            )
        elif match := _SEAL.fullmatch(name):
            if int(match["segment"]) in found.seals:
                raise BackupError(f"{key}: a second end of this segment")
            found.seals[int(match["segment"])] = Seal(int(match["end"]), int(match["size"]), match["digest"])
        elif match := _SNAPSHOT.fullmatch(name):
            found.snapshots[int(match["segment"])] = Part(key, match["digest"])
        elif match := _FILE.fullmatch(name):
            # The host wrote the time in the name. A host with a wrong clock could write a future time, so the upload
            # time of S3 is its upper limit.
            order = (min(_time(match["time"], key), came), match["time"])
            if order >= at.get(match["path"], order):
                at[match["path"]] = order
                found.files[match["path"]] = Part(key, match["digest"])
        else:
            raise BackupError(f"{key}: {_FOREIGN}")
    return found


def _time(text: str, key: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=timezone.utc)
    except ValueError:  # such as a 13th month
        raise BackupError(f"{key}: {_FOREIGN}") from None


def _proving(found: _Found, newest: int, where: str) -> tuple[int, list[Segment], str]:
    """Return the objects with which the newest snapshot can be checked: a snapshot's number, segments, and a reason.

    The number is that of the previous snapshot, or 0 when there is none. The segments are those from the previous
    snapshot, or from the first segment, to the newest snapshot. The reason says why they are not available. It is empty
    when they are available. It is also empty when no check is possible, because the series begins with its newest
    snapshot.
    """
    older = max((number for number in found.snapshots if number < newest), default=0)
    first = older or 1
    if newest == 1 or not (older or first in found.ranges):
        return 0, [], ""
    if newest - first > MOST_PROVING:
        return 0, [], f"that would replay {newest - first} segments, and {MOST_PROVING} are the most"
    try:
        between = list(_segments(found, first, where, newest))
    except BackupError as error:
        return 0, [], str(error)
    if [segment.number for segment in between if segment.seal] != list(range(first, newest)):
        return 0, [], f"{where}: not all of segments {first} to {newest - 1} is there"
    return older, between, ""


def _segments(found: _Found, first: int, where: str, until: float = inf) -> Iterator[Segment]:
    """Yield the segments from number ``first`` up to but excluding ``until``, in order.

    Raises BackupError for a missing part.
    """
    numbers = sorted(number for number in {*found.ranges, *found.seals} if first <= number < until)
    for expected, number in enumerate(numbers, first):
        if number != expected:
            raise BackupError(f"{where}: all of segment {expected} is missing, and segment {number} is there")
        seal = found.seals.get(number)
        ranges, end = _chain(found.ranges.get(number, []), f"{where}, segment {number}")
        if seal is None and number != numbers[-1]:
            raise BackupError(
                f"{where}, segment {number}: the object that ends it is missing, and a later segment is there"
            )
        if seal is not None and end != seal.end:
            raise BackupError(f"{where}, segment {number}: the object with its bytes from {end} on is missing")
        yield Segment(number, ranges, seal)


def _chain(ranges: list[Range], where: str) -> tuple[list[Range], int]:
    """Return the ranges that follow each other without a gap from byte 0, and the byte at which the last one ends.

    Raises BackupError for a gap. Two ranges begin at the same byte if the shipper uploaded the first one and was ended
    before it recorded the upload. The longer range then contains the shorter one.
    """
    chain: list[Range] = []
    at = 0
    longest: dict[int, Range] = {}
    for one in ranges:
        if one.start not in longest or one.end > longest[one.start].end:
            longest[one.start] = one
    while at in longest:
        chain.append(longest[at])
        at = longest[at].end
    beyond = sorted(one for one in ranges if one.end > at)
    if beyond:
        raise BackupError(f"{where}: the object with its bytes from {at} to {beyond[0].start} is missing")
    return chain, at
