"""The parts of the tests. A part is a group of tests that one process runs.

This module has the command of each part, the packages that it needs, and which parts run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

# --- Knobs -----------------------------------------------------------------------------------------------------------
# Workers of pytest-xdist. Two CPUs need only one worker each, because other lanes run while a test waits.
UNIT_WORKERS = 2
AWS_WORKERS = 2
PROCESS_WORKERS = 2
# Lanes run at the same time. Within a lane, parts run one after the other. The first lane boots machines, and mostly
# waits for them. The second mostly computes. In the third, each command waits for the one before. Its last tests
# measure, and wait until no other part runs. A lane that has finished takes over the last part of another lane, so that
# no CPU is idle.
LANES = (
    ("own-kernel", "sandbox", "tuning", "molecule"),
    ("lint", "unit", "aws", "processes"),
    ("e2e",),
)
# Parts that measure. They run afterwards, each alone.
ALONE = ("load",)
# The parts of `scripts/test quick`: those that run at the same time, and those that run alone afterwards.
QUICK_LANES = (("lint-quick",), ("unit",))
QUICK_ALONE = ("deployment",)
# Molecule's scenarios that always run. Others run only when the user names them: `default` and `telemetry`, because e2e
# and `slo` verify the same, and those with a kernel of their own, which take ten minutes each without KVM.
SCENARIOS = ("slo", "trading_engine", "os_tuning")
# ---------------------------------------------------------------------------------------------------------------------

OWN_KERNEL = "tests/integration/sandbox/test_own_kernel.py"
# The names of sets of Debian packages that `tests/runner/install.sh` installs.
_MACHINE_SETS = ("machines", "own-kernel", "client")
_SANDBOX_SETS = (*_MACHINE_SETS, "balancer")


@dataclass(frozen=True)
class Part:
    """A part of the tests. The report has one line about each part.

    `kind` tells how the part's tests are counted: pytest, lint or single.
    """

    name: str
    command: tuple[str, ...]
    kind: str = "pytest"
    root: bool = False
    needs: tuple[str, ...] = ()
    # The path of the tests. An argument with a path replaces it.
    path: tuple[str, ...] = ()
    # Whether the last tests of this part measure. They wait until no other part runs.
    measures_last: bool = False
    # The arguments of scripts/test that repeat this part alone.
    again: str = ""

    def given(self, arguments: list[str]) -> Part:
        """Return the part with the user's arguments added to its command."""
        paths = self.path if not any("/" in word and not word.startswith("-") for word in arguments) else ()
        return replace(self, command=(*self.command, *arguments), path=paths)

    @property
    def argv(self) -> list[str]:
        return [*self.command, *self.path]


def _tests(
    name: str, *path: str, needs: tuple[str, ...], root: bool = False, workers: int = 0, split: str = "loadfile"
) -> Part:
    side_by_side = ("-n", str(workers), "--dist", split) if workers else ()
    return Part(name, ("pytest", *side_by_side), path=path, root=root, needs=needs)


def scenario(name: str) -> Part:
    """Return the part that runs one scenario of Molecule."""
    command = ("molecule", "test", "--scenario-name", name)
    return Part(f"molecule {name}", command, kind="single", root=True, needs=_MACHINE_SETS)


_PARTS = (
    Part("lint", ("scripts/lint",), kind="lint", needs=("shell",)),
    Part(
        "lint-quick",
        ("scripts/lint", "ruff", "mypy", "yaml", "shell", "prose", "ansible", "changelog"),
        kind="lint",
        needs=("shell",),
        again="lint ruff mypy yaml shell prose ansible changelog",
    ),
    _tests("unit", "tests/unit", workers=UNIT_WORKERS, split="worksteal", needs=("compiler", "client", "balancer")),
    # The API of the embedded EC2, without machines. Each worker has an AWS account.
    _tests("aws", "tests/integration/aws", workers=AWS_WORKERS, needs=("compiler",)),
    # Engine, feed and telemetry as processes on this machine. The files run in the order of their names. By default,
    # test_compiled.py would begin late, because it has few tests, but it takes longest.
    _tests(
        "processes",
        *("tests/integration/engine", "tests/integration/feed", "tests/integration/telemetry"),
        workers=PROCESS_WORKERS,
        root=True,
        needs=("compiler", "browser", "time", "tls"),
    ).given(["--no-loadscope-reorder"]),
    _tests("load", "tests/integration/bench", root=True, needs=("compiler",)),
    _tests("sandbox", "tests/integration/sandbox", root=True, needs=_SANDBOX_SETS).given([f"--ignore={OWN_KERNEL}"]),
    _tests("own-kernel", OWN_KERNEL, root=True, needs=_MACHINE_SETS),
    _tests("tuning", "tests/integration/tuning", root=True, needs=_MACHINE_SETS),
    # All integration tests in one process, for arguments such as -k.
    _tests("integration", "tests/integration", root=True, needs=(*_SANDBOX_SETS, "compiler", "browser", "time", "tls")),
    replace(_tests("e2e", "tests/e2e", root=True, needs=_MACHINE_SETS), measures_last=True),
    Part(
        "deployment",
        ("pytest", "-k", "dynamic or telemetry or verdict"),
        path=("tests/e2e/test_1_site.py",),
        root=True,
        needs=_MACHINE_SETS,
        again="e2e tests/e2e/test_1_site.py",
    ),
)
PARTS = {part.name: part for part in _PARTS}
INTEGRATION = ("aws", "processes", "own-kernel", "sandbox", "tuning", "load")
CHOICES = (
    "quick",
    "lint",
    "unit",
    "integration",
    *INTEGRATION,
    "molecule",
    "e2e",
)


@dataclass(frozen=True)
class Plan:
    """What to run: lanes, which run at the same time, and parts, which run alone afterwards."""

    lanes: tuple[tuple[Part, ...], ...]
    alone: tuple[Part, ...] = ()

    @property
    def parts(self) -> list[Part]:
        return [part for lane in self.lanes for part in lane] + list(self.alone)


def plan(chosen: str, arguments: list[str]) -> Plan:
    """Return what to run for the words that the user gave to scripts/test.

    `chosen` is the first word, or empty for everything. `arguments` are the words after it.
    """
    match chosen, arguments:
        case "", _:
            return Plan(tuple(_named(lane) for lane in LANES), _named(ALONE))
        case "quick", _:
            return Plan(tuple(_named(lane) for lane in QUICK_LANES), _named(QUICK_ALONE))
        case "molecule", []:
            return Plan((_named(("molecule",)),))
        case "molecule", _:
            return Plan((tuple(scenario(name) for name in arguments),))
        case "integration", []:
            lanes = (tuple(name for name in lane if name in INTEGRATION) for lane in LANES)
            return Plan(
                tuple(_named(lane) for lane in lanes if lane), _named(name for name in ALONE if name in INTEGRATION)
            )
        case "lint", [_, *_]:
            words = ("--one", *arguments) if len(arguments) == 1 else arguments
            return Plan(((replace(PARTS["lint"], command=("scripts/lint", *words)),),))
        case _:
            return Plan(((PARTS[chosen].given(arguments),),))


def _named(names: Iterable[str]) -> tuple[Part, ...]:
    found: list[Part] = []
    for name in names:
        if name == "molecule":
            found += [scenario(one) for one in SCENARIOS]
        else:
            found.append(PARTS[name])
    return tuple(found)
