"""The engine accepts the configuration that the role trading_engine writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trading_engine.settings import config, passwords

ROLE = Path(__file__).parents[3] / "roles/trading_engine"
FIRMS = {"ACME": {"mpids": ["ACME", "ACMX"]}, "a.b": {"mpids": ["AB"]}}


def written(folder: Path, **inputs: Any) -> Path:
    """Render the role's configuration with these inputs. Write it into the folder, and return its path."""
    more: dict[str, Any] = {"trading_engine_settings": {"accounts": {"file": str(folder / "accounts.toml")}}, **inputs}
    # Ansible only prints the file. Its module that writes templates would take most of the test's time.
    template = f"{{{{ lookup('ansible.builtin.template', '{ROLE}/templates/etc/trading/engine.toml.j2') }}}}"
    words = ["-m", "debug", "-a", json.dumps({"msg": template})]
    words += ["-e", f"@{ROLE}/defaults/main.yml", "-e", f"@{ROLE}/vars/main.yml"]
    program = Path(sys.executable).with_name("ansible")
    done = subprocess.run(
        [program, "-c", "local", "-i", "localhost,", "localhost", *words, "-e", json.dumps(more)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "engine.toml").write_text(json.loads(done.stdout.partition("=> ")[2])["msg"], encoding="utf-8")
    return folder / "engine.toml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hashed = passwords.hash_password("secret")
    (tmp_path / "accounts.toml").write_text(f'[accounts.BENCH]\npassword = "{hashed}"\n')
    return tmp_path


def test_without_firms_none_are_written_so_that_an_older_release_takes_the_file(folder: Path) -> None:
    path = written(folder)
    assert "[firms" not in path.read_text()
    assert config.read(path).accounts["BENCH"].mpids == ("HOUS",)


def test_firms_ticks_and_lots_are_written(folder: Path) -> None:
    symbols = [{"name": "TEST", "reference_price": "100.00", "tick": "0.05", "lot": 10}]
    inputs = {"trading_engine_firms": FIRMS, "trading_engine_default_firm": "ACME", "trading_engine_symbols": symbols}
    found = config.read(written(folder, **inputs))
    assert found.accounts["BENCH"].mpids == ("ACME", "ACMX")
    assert found.firms.mpids["a.b"] == ("AB",)
    assert found.symbols == (config.Symbol("TEST", 1_000_000, False, 500, 10),)


def test_with_a_certificate_the_clear_ports_answer_the_host_itself_and_the_proxy_has_ports(folder: Path) -> None:
    clear = written(folder)
    assert "proxy_port" not in clear.read_text(), "an older release would not take the file"
    assert config.read(clear).order_entry.address == "0.0.0.0"
    found = config.read(written(folder, trading_engine_tls={"certificate": "orders.crt", "key": "orders.key"}))
    assert found.order_entry == config.Endpoint("127.0.0.1", 9001, 9021)
    assert found.market_data == config.Endpoint("127.0.0.1", 9002, 9022)
