"""The sandbox changes moto, the emulator of AWS, by patches.

The patches are found by the names of their files, and all have the same form.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_ec2 import patches
from embedded_ec2.hooks import Hooks

PATCHES = sorted(path for path in Path(patches.__path__[0]).glob("*.py") if path.stem != "__init__")
SERVICES = ("autoscaling", "cloudformation", "cloudwatch", "ec2", "elbv2", "iam", "s3", "sns")


def problems(name: str, source: str) -> Iterator[str]:
    """Yield a text about each point in which a patch differs from the common form."""
    service, _, thing = name.partition("_")
    if service not in SERVICES or not thing:
        yield f"{name} is not named by service and thing"
    installs = [node for node in ast.parse(source).body if getattr(node, "name", "") == "install"]
    if [ast.unparse(node.args) for node in installs if isinstance(node, ast.FunctionDef)] != ["hooks: Hooks"]:
        yield "has not one install(hooks)"
    if "type: ignore[method-assign]" in source:
        yield "replaces without replace(), which notes a name that moto no longer has"


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_a_patch_has_the_form_of_all(path: Path) -> None:
    assert list(problems(path.stem, path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("volumes", "def install(hooks: Hooks) -> None: ..."),
        ("route53_zones", "def install(hooks: Hooks) -> None: ..."),
        ("ec2_volumes", "def install() -> None: ..."),
        ("ec2_volumes", "def patch(hooks: Hooks) -> None: ..."),
        ("ec2_volumes", "def install(hooks: Hooks) -> None:\n    A.b = c  # type: ignore[method-assign]"),
    ],
)
def test_another_form_is_found(name: str, source: str) -> None:
    assert list(problems(name, source))


def test_every_file_of_the_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("ec2_one_for_a_test", "s3_another_for_a_test")
    for name in names:
        (tmp_path / f"{name}.py").write_text(
            "def install(hooks):\n    hooks.machines.append(__name__)\n", encoding="utf-8"
        )
        monkeypatch.setitem(sys.modules, f"embedded_ec2.patches.{name}", None)  # removed after the test
        del sys.modules[f"embedded_ec2.patches.{name}"]
    monkeypatch.setattr(patches, "__path__", [str(tmp_path)])
    installed: Any = []
    patches.install(Hooks(machines=installed))
    assert installed == [f"embedded_ec2.patches.{name}" for name in names]


def test_a_name_that_moto_no_longer_has_is_a_mistake() -> None:
    with pytest.raises(AttributeError, match="renamed_by_moto"):
        patches.replace(Hooks, "renamed_by_moto", None)
