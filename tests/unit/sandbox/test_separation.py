"""The collection contains no code about the sandbox.

It uses the sandbox in the same way as AWS: through the API's endpoint, SSH, and the address of the metadata service.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PRODUCT = ("roles", "playbooks", "plugins", "files", "meta", "site.yml")
NAMES_OF_THE_SANDBOX = re.compile(
    r"embedded.?ec2|\bmoto\b|scripts/sandbox|sandbox/(src|README)|203\.0\.113\.", re.IGNORECASE
)


def product_files() -> list[Path]:
    found = []
    for part in PRODUCT:
        path = ROOT / part
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return [file for file in found if "__pycache__" not in file.parts]


def test_there_is_a_product_to_look_at() -> None:
    assert len(product_files()) > 50


def test_the_product_does_not_name_the_sandbox() -> None:
    naming = [file for file in product_files() if NAMES_OF_THE_SANDBOX.search(file.read_text(errors="replace"))]
    assert [str(file.relative_to(ROOT)) for file in naming] == []
