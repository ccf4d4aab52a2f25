"""The engine accepts the configuration that the role trading_engine writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trading_engine.settings import config, passwords

from tests.unit.collection.plays import printed

ROLE = Path(__file__).parents[3] / "roles/trading_engine"
FIRMS = {"ACME": {"mpids": ["ACME", "ACMX"]}, "a.b": {"mpids": ["AB"]}}


SYMBOLS = [{"name": "TEST", "reference_price": "100.00", "tick": "0.05", "lot": 10}]
INPUTS: dict[str, dict[str, Any]] = {
    "none": {},
    "firms": {
        "trading_engine_firms": FIRMS,
        "trading_engine_default_firm": "ACME",
        "trading_engine_symbols": SYMBOLS,
    },
    "tls": {"trading_engine_tls": {"certificate": "orders.crt", "key": "orders.key"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render the role's configuration with each entry of INPUTS. Return the folder with all rendered files."""
    folder = tmp_path_factory.mktemp("configurations")
    hashed = passwords.hash_password("secret")
    (folder / "accounts.toml").write_text(f'[accounts.BENCH]\npassword = "{hashed}"\n')
    settings = {"trading_engine_settings": {"accounts": {"file": str(folder / "accounts.toml")}}}
    # Ansible only prints the file. Its module that writes templates would take most of the test's time.
    template = f"{{{{ lookup('ansible.builtin.template', '{ROLE}/templates/etc/trading/engine.toml.j2') }}}}"
    cases = {name: (template, {**settings, **inputs}) for name, inputs in INPUTS.items()}
    for name, (text, _said) in printed(folder, (ROLE,), cases).items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


def test_without_firms_none_are_written_so_that_an_older_release_takes_the_file(folder: Path) -> None:
    path = folder / "none.toml"
    assert "[firms" not in path.read_text()
    assert config.read(path).accounts["BENCH"].mpids == ("HOUS",)


def test_firms_ticks_and_lots_are_written(folder: Path) -> None:
    found = config.read(folder / "firms.toml")
    assert found.accounts["BENCH"].mpids == ("ACME", "ACMX")
    assert found.firms.mpids["a.b"] == ("AB",)
    assert found.symbols == (config.Symbol("TEST", 1_000_000, False, 500, 10),)


def test_with_a_certificate_the_clear_ports_answer_the_host_itself_and_the_proxy_has_ports(folder: Path) -> None:
    clear = folder / "none.toml"
    assert "proxy_port" not in clear.read_text(), "an older release would not take the file"
    assert config.read(clear).order_entry.address == "0.0.0.0"
    found = config.read(folder / "tls.toml")
    assert found.order_entry == config.Endpoint("127.0.0.1", 9001, 9021)
    assert found.market_data == config.Endpoint("127.0.0.1", 9002, 9022)
