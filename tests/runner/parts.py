"""The parts of the tests: their commands, their needs, and which of them run side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

# --- Knobs -----------------------------------------------------------------------------------------------------------
# Workers of pytest-xdist: one for each of two CPUs, since the other lanes have work while a test waits.
UNIT_WORKERS = 2
AWS_WORKERS = 2
PROCESS_WORKERS = 2
# Lanes run side by side, each one part after the other: the first boots machines and mostly waits for them, the second
# mostly computes, and in the third one command waits for the next; its last tests measure, and wait for the others.
# A lane that is at its end takes over the last part of another, so that no CPU idles.
LANES = (
    ("own-kernel", "sandbox", "tuning", "molecule"),
    ("lint", "unit", "aws", "processes"),
    ("e2e",),
)
# Then these, with nothing beside them, because they measure.
ALONE = ("load",)
# `scripts/test quick`: side by side, then alone.
QUICK_LANES = (("lint-quick",), ("unit",))
QUICK_ALONE = ("deployment",)
# The others run when they are asked for: what `default` and `telemetry` verify, e2e and `slo` verify as well, on hosts
# with the same roles; those with a kernel of their own take some ten minutes each without KVM.
SCENARIOS = ("slo", "trading_engine", "os_tuning")
# ---------------------------------------------------------------------------------------------------------------------

OWN_KERNEL = "tests/integration/sandbox/test_own_kernel.py"
# What `tests/runner/install.sh` installs of Debian's packages, by the names that it gives to sets of them.
_MACHINE_SETS = ("machines", "own-kernel", "client")
_SANDBOX_SETS = (*_MACHINE_SETS, "balancer")


@dataclass(frozen=True)
class Part:
    """A part with its own line in the report. `kind` is how its tests are counted: pytest, lint, or as a single one."""

    name: str
    command: tuple[str, ...]
    kind: str = "pytest"
    root: bool = False
    needs: tuple[str, ...] = ()
    # Where the tests are; an argument that names a path replaces it.
    path: tuple[str, ...] = ()
    # Whether its last tests measure, which they do when nothing runs beside them any more.
    measures_last: bool = False
    # How a user starts this part alone.
    again: str = ""

    def given(self, arguments: list[str]) -> Part:
        """Return the part with a user's arguments for its runner."""
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
    """Return the part that is one scenario of molecule."""
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
    # The API without machines: an account for each worker.
    _tests("aws", "tests/integration/aws", workers=AWS_WORKERS, needs=("compiler",)),
    # Engine, feed and telemetry as processes on this machine. In the order of their names: the file that takes longest,
    # test_compiled.py, has few tests and would else begin late.
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
    # All of these in one go, for arguments such as -k.
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
    """The lanes that run side by side, and the parts that run alone afterwards."""

    lanes: tuple[tuple[Part, ...], ...]
    alone: tuple[Part, ...] = ()

    @property
    def parts(self) -> list[Part]:
        return [part for lane in self.lanes for part in lane] + list(self.alone)


def plan(chosen: str, arguments: list[str]) -> Plan:
    """Return the plan for a user's choice ("" is everything) and the arguments that follow it."""
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
