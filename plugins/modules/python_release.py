#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that installs a release of Python programs from an archive of wheels, and activates it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: python_release
short_description: Install a release of Python programs side by side with the older ones
version_added: 0.1.0
description:
  - Verify the SHA-256 of every wheel in the archive. Install the wheels without a network into a virtual environment,
    C(<root>/releases/<release>). Then move the link C(<root>/current) to it in one step.
  - Remove an installation that was interrupted, and install again.
  - Write the software bill of materials of the release, in CycloneDX 1.6, to C(sbom.cdx.json) in its directory.
  - Keep older releases, so that a rollback only moves the link.
  - Install the compiled wheel of a project for which the archive has a compiled and a pure wheel, and run
    O(self_check). When that fails, install the pure wheel instead. A warning then says why, also in later runs with the
    same release.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  root:
    description: The directory of the releases.
    type: path
    required: true
  release:
    description:
      - The name of the release, as M(lowlatency.trading.wheel_set) returned it, or of an installed release.
      - The word V(previous) stands for the release that was active before the current one. After such a rollback a
        second one changes nothing. A rollback removes no release.
    type: str
    required: true
  archive:
    description: The path of the release's archive on the host. It is not needed for an installed release.
    type: path
  python:
    description: The interpreter for a new virtual environment.
    type: str
    default: python3
  keep:
    description: The number of releases that stay on the host, including the active and the previous one.
    type: int
    default: 3
  put_in_force:
    description: Say whether the release is activated. Otherwise it is only installed, and no other release is removed.
    type: bool
    default: true
  programs:
    description: The programs of a new release that must print their C(--help) before the release is activated.
    type: list
    elements: str
    default: []
  self_check:
    description: >-
      The program of the release, with its arguments, that checks whether the compiled wheel works correctly on this
      host. It may take 60 seconds. It is not run for a release without a compiled wheel.
    type: list
    elements: str
    default: []
  compiled:
    description: Fail with V(always) when the compiled wheel fails, and activate nothing.
    type: str
    choices: [auto, always]
    default: auto
attributes:
  check_mode:
    support: full
    description: Report what would be installed and activated.
  diff_mode:
    support: full
    description: Show the active release before and after.
"""

EXAMPLES = r"""
- name: Put the release in force
  lowlatency.trading.python_release:
    root: /opt/trading
    release: 0123456789abcdef
    archive: /opt/trading/incoming.tar
    python: python3.11

- name: Go back to the release before
  lowlatency.trading.python_release:
    root: /opt/trading
    release: previous
"""

RETURN = r"""
release:
  description: The active release, or with O(put_in_force=false) the installed one.
  type: str
  returned: success
before:
  description: The release that was active when the module began; empty without one.
  type: str
  returned: always
compiled:
  description: >-
    Whether the release has a compiled wheel installed. It is V(false) in check mode when the release is not installed.
  type: bool
  returned: success
reason:
  description: Why the pure wheel is installed instead of the compiled one; otherwise empty.
  type: str
  returned: success
removed:
  description: Releases that were removed.
  type: list
  elements: str
  returned: success
"""

import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.release import bom, pip_settings
from ansible_collections.lowlatency.trading.plugins.module_utils.release.installed import (
    COMPLETE,
    Releases,
    write_down,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.release.release import (
    ReleaseError,
    check_manifest,
    installer,
    pure_twins,
    superseded,
)

SELF_CHECK_LIMIT_S = 60
OFFLINE = ("--isolated", "--no-index", "--disable-pip-version-check", "--no-cache-dir")


def versioned(python: str) -> str:
    """Return the interpreter's real path, whose name contains the version, such as python3.11.

    After an upgrade of the distribution the name python3 may mean another version. If no such path is found, return the
    given name.
    """
    found = shutil.which(python)
    return os.path.realpath(found) if found else python


def unpack(archive: Path, to: Path) -> None:
    """Unpack an archive of wheels. Raises ReleaseError unless all its members are plain files at its top level."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if not member.isfile() or "/" in member.name:
                raise ReleaseError(f"{archive} is no archive of wheels: it holds {member.name}")
            source = tar.extractfile(member)
            if source is not None:
                with source, open(to / member.name, "wb") as target:
                    shutil.copyfileobj(source, target)


def run(module: AnsibleModule, what: str, command: list[str]) -> None:
    # An environment variable could make Python load other code than the release.
    environment = {"PYTHONPATH": "", **pip_settings.none_of_them(os.environ)}
    returned, out, err = outside.run(module, command, environment)
    if returned != 0:
        said = err.strip() or out.strip() or f"it ended with {returned}"
        if "Traceback (most recent call last)" in said:
            said = said.splitlines()[-1]
        raise ReleaseError(f"cannot {what}: {said[-600:]}")


def install(module: AnsibleModule, releases: Releases, release: str, archive: str | None, python: str) -> None:
    """Install the release into its directory.

    The marker file is written last, so that an incomplete installation never counts as installed. Raises ReleaseError
    when a step fails.
    """
    if not archive:
        raise ReleaseError(f"release {release} is not installed in {releases.directory}, and no archive was given")
    home = releases.directory / release
    if home.exists():
        shutil.rmtree(home)
    releases.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=releases.root, prefix=".unpacked-") as scratch:
        try:
            unpack(Path(archive), Path(scratch))
        except (tarfile.TarError, EOFError) as error:
            raise ReleaseError(f"cannot unpack {archive}: {error}") from error
        wheels = check_manifest(Path(scratch), release)
        run(
            module,
            f"make a virtual environment with {python}",
            [versioned(python), "-m", "venv", "--without-pip", str(home)],
        )
        # pip runs from its own wheel. To install pip into the virtual environment would take several seconds.
        pip = [str(home / "bin" / "python"), str(Path(scratch) / installer(wheels) / "pip")]
        pip += ["install", "--quiet", *OFFLINE, "--no-deps"]
        twins = pure_twins(wheels)
        left_out = {installer(wheels), *twins.values()}
        paths = [str(Path(scratch) / name) for name in wheels if name not in left_out]
        install_wheels(module, release, home, pip, paths)
        reason = ""
        try:
            try_out(module, release, home / "bin", bool(twins))
        except ReleaseError as error:
            if not twins or module.params["compiled"] == "always":
                raise
            reason = " ".join(str(error).split())
            pure = [str(Path(scratch) / name) for name in twins.values()]
            install_wheels(module, release, home, [*pip, "--force-reinstall"], pure)
            try_out(module, release, home / "bin", False)
    compiled = bool(twins) and not reason
    not_in_force = left_out if not reason else {installer(wheels), *twins}
    in_force = {name: digest for name, digest in wheels.items() if name not in not_in_force}
    (home / bom.BOM).write_text(bom.render(home, in_force, release, compiled), encoding="utf-8")
    noted = {"wheels": wheels, "compiled": compiled, "reason": reason}
    (home / COMPLETE).write_text(json.dumps(noted, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def install_wheels(module: AnsibleModule, release: str, home: Path, pip: list[str], wheels: list[str]) -> None:
    """Install the wheels with pip. Raises ReleaseError unless all are installed afterwards."""
    run(module, f"install release {release}", [*pip, *wheels])
    missing = not_installed(home, wheels)
    if missing:
        raise ReleaseError(f"cannot install release {release}: pip reported success, and {home} has no {missing[0]}")


def not_installed(home: Path, wheels: list[str]) -> list[str]:
    """Return the names of the wheels' metadata directories (.dist-info) that the environment at `home` lacks."""
    there = {path.parent.name for path in home.glob("lib*/python*/site-packages/*.dist-info/METADATA")}
    brought = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            parts = [name.split("/") for name in archive.namelist()]
        brought += [
            directory for directory, *rest in parts if rest == ["METADATA"] and directory.endswith(".dist-info")
        ]
    return sorted(set(brought) - there)


def try_out(module: AnsibleModule, release: str, programs: Path, compiled: bool) -> None:
    """Raise ReleaseError when a program of the release does not start, or when the self check fails."""
    for program in module.params["programs"]:
        run(module, f"start {program} of release {release}", [str(programs / program), "--help"])
    if compiled and module.params["self_check"]:
        program, *arguments = module.params["self_check"]
        limit = ["timeout", "--kill-after=5", str(SELF_CHECK_LIMIT_S)]
        what = f"use release {release} compiled"
        run(module, what, [*limit, str(programs / program), *arguments])


@dataclass(frozen=True)
class Observed:
    """The releases to which the links `current` and `previous` point (empty without a link), and the installed ones."""

    current: str
    previous: str
    installed: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """The wanted release, whether to install it, the new target of each link, and whether this is a rollback."""

    release: str
    install: bool
    links: dict[str, str]
    goes_back: bool


def observe(releases: Releases) -> Observed:
    """Return the releases to which the links point, and the installed releases."""
    return Observed(releases.linked("current"), releases.linked("previous"), frozenset(releases.installed_s()))


def plan(observed: Observed, wanted: str, root: Path, in_force: bool = True) -> Plan:
    """Return the plan by which the wanted release gets installed, and activated if the option `in_force` is set.

    Raises ReleaseError when a rollback is wanted and no previous release exists.
    """
    goes_back = wanted == "previous"
    release = observed.previous if goes_back else wanted
    if goes_back and not release:
        raise ReleaseError(f"there is no release to go back to: {root}/previous does not exist")
    links = {}
    if observed.current != release and in_force:
        # A rollback does not change the link `previous`. So a second rollback changes nothing.
        if observed.current and not goes_back:
            links["previous"] = observed.current
        links["current"] = release
    return Plan(release, release not in observed.installed, links, goes_back)


def apply(module: AnsibleModule, releases: Releases, planned: Plan) -> tuple[dict[str, Any], list[str]]:
    """Install and activate the planned release. Return its installation record and the names of the removed releases.

    Raises ReleaseError when a step fails.
    """
    release = planned.release
    if planned.install:
        install(module, releases, release, module.params["archive"], module.params["python"])
    noted = releases.record(release)
    if noted.get("reason") and module.params["compiled"] == "always":
        raise ReleaseError(f"release {release} is installed with the pure wheel: {noted['reason']}")
    if noted.get("reason"):
        module.warn(f"release {release} runs the pure engine: {noted['reason']}")
    for link, target in planned.links.items():
        releases.link(link, target)
    in_use = {release, releases.linked("previous")} - {""}
    stays = planned.goes_back or not module.params["put_in_force"]
    removed = [] if stays else superseded(releases.installed_s(), in_use, module.params["keep"])
    for old in removed:
        shutil.rmtree(releases.directory / old)
    return noted, removed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "archive": {"type": "path"},
            "python": {"type": "str", "default": "python3"},
            "keep": {"type": "int", "default": 3},
            "put_in_force": {"type": "bool", "default": True},
            "programs": {"type": "list", "elements": "str", "default": []},
            "self_check": {"type": "list", "elements": "str", "default": []},
            "compiled": {"type": "str", "choices": ["auto", "always"], "default": "auto"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # the engine's own user must be able to read these files
    releases = Releases(Path(module.params["root"]))
    noted: dict[str, Any] = {}
    removed: list[str] = []
    try:
        observed = observe(releases)
        in_force = module.params["put_in_force"]
        planned = plan(observed, module.params["release"], releases.root, in_force)
        if not module.check_mode:
            noted, removed = apply(module, releases, planned)
            if in_force:
                write_down(planned.release, observed.current, module.params["release"] == "previous")
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=planned.install or bool(planned.links or removed),
        release=planned.release,
        before=observed.current,
        compiled=bool(noted.get("compiled")),
        reason=noted.get("reason", ""),
        removed=removed,
        diff={
            "before": f"release {observed.current or 'none'}\n",
            "after": f"release {planned.release if in_force else observed.current or 'none'}\n",
        },
    )


if __name__ == "__main__":
    main()
