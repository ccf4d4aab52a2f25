"""Which values the engine's configuration accepts, and which messages report wrong values."""

from __future__ import annotations

from pathlib import Path

import pytest
from trading_engine.process.canary import with_account
from trading_engine.settings import config, passwords
from trading_engine.settings.tables import ConfigError

HASH = passwords.hash_password("secret")
MINIMAL = f'[accounts.ANNA]\npassword = "{HASH}"\n[[symbol]]\nname = "TEST"\nreference_price = "100.25"\n'


def read(tmp_path: Path, text: str) -> config.EngineConfig:
    path = tmp_path / "engine.toml"
    path.write_text(text)
    return config.read(path)


def test_one_account_and_one_symbol_are_enough(tmp_path: Path) -> None:
    found = read(tmp_path, MINIMAL)
    assert (found.order_entry.port, found.market_data.port) == (9001, 9002)
    assert found.journal.durability == "os"
    assert found.symbols == (config.Symbol("TEST", 1_002_500, False, 0, 1),)
    assert found.accounts["ANNA"].limits.collar_percent == 10


def test_a_symbol_may_have_a_tick_and_a_lot(tmp_path: Path) -> None:
    (symbol,) = read(tmp_path, MINIMAL + "tick = '0.05'\nlot = 100\n").symbols
    assert (symbol.tick_e4, symbol.lot_shares) == (500, 100)


FIRMS = '[firms.ACME]\nmpids = ["ACME", "ACMX"]\n'


@pytest.mark.parametrize(
    ("account", "more", "mpids"),
    [
        ("", "", ("HOUS",)),
        ("", FIRMS, ("HOUS",)),
        ("", FIRMS + '[firms]\ndefault = "ACME"', ("ACME", "ACMX")),
        ('firm = "ACME"', FIRMS, ("ACME", "ACMX")),
        ('firm = "ACME"\nmpids = ["ACMX"]', FIRMS, ("ACMX",)),
        ("", '[firms.HOUSE]\nmpids = ["OURS"]', ("OURS",)),
    ],
)
def test_an_account_may_use_the_mpids_of_its_firm(
    tmp_path: Path, account: str, more: str, mpids: tuple[str, ...]
) -> None:
    found = read(tmp_path, MINIMAL.replace("[[symbol]]", account + "\n[[symbol]]") + more)
    assert found.accounts["ANNA"].mpids == mpids
    assert found.core_settings()["accounts"]["ANNA"]["mpids"] == mpids


def test_the_canary_is_of_the_default_firm(tmp_path: Path) -> None:
    found, _ = with_account(read(tmp_path, MINIMAL + FIRMS + '[firms]\ndefault = "ACME"'))
    assert (found.accounts["CANARY"].firm, found.accounts["CANARY"].mpids) == ("ACME", ("ACME", "ACMX"))


@pytest.mark.parametrize(("login", "found"), [("ANNA", True), ("anna", True), ("aNnA", True), ("ANN", False)])
def test_an_account_logs_in_by_its_name_in_any_case(tmp_path: Path, login: str, found: bool) -> None:
    assert (read(tmp_path, MINIMAL).account_of(login) is not None) == found


def test_an_accounts_own_limits_go_before_the_common_ones(tmp_path: Path) -> None:
    text = MINIMAL + "[risk]\nmax_order_shares = 7\nmax_open_orders = 9\n[accounts.ANNA.risk]\nmax_open_orders = 1\n"
    limits = read(tmp_path, text).accounts["ANNA"].limits
    assert (limits.max_order_shares, limits.max_open_orders) == (7, 1)


def test_accounts_may_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text(f'[accounts.BERT]\npassword = "{HASH}"\ntest = true\n')
    found = read(tmp_path, MINIMAL + '[accounts]\nfile = "more.toml"\n')
    assert {name: account.test for name, account in found.accounts.items()} == {"ANNA": False, "BERT": True}


def test_passwords_are_no_part_of_what_the_journal_records(tmp_path: Path) -> None:
    assert "scrypt" not in str(read(tmp_path, MINIMAL).core_settings())


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("[order_entry]\nprot = 1", "unknown key 'prot'; did you mean port?"),
        ("[jurnal]", "unknown key 'jurnal'; did you mean journal?"),
        ("[order_entry]\nport = 70000", "port must be a whole number from 1 to 65535, not 70000"),
        ("[order_entry]\naddress = 'localhost'", "address must be a numeric address like 10.0.1.5"),
        ("[market_data]\naddress = '10.0.1'", "address must be a numeric address"),
        ("[order_entry]\nport = true", "port must be a whole number"),
        ("[journal]\ndurability = 'disc'", "durability must be one of none, os, disk"),
        ("[journal]\nbudget_bytes = 67108864", "at least four segments"),
        ("[risk]\ncollar_percent = -1", "collar_percent must be"),
        ("[day]\nzone = 'Mars/Olympus'", "zone must be"),
        ("[accounts.TOOLONGNAME]\npassword = 'x'", "1 to 6 letters or digits"),
        ("[accounts.BERT]\npassword = 'secret'", "never the clear text"),
        ("[accounts.BERT]", "password is missing"),
        ("[[symbol]]\nname = 'TEST'\nreference_price = 1", "TEST is there twice"),
        ("[[symbol]]\nname = 'lower'\nreference_price = 1", "capital letters"),
        ("[[symbol]]\nname = 'X'\nreference_price = '1.00001'", "a price like"),
        ("[[symbol]]\nname = 'X'\nreference_price = 'much'", "a price like"),
        ("[[symbol]]\nname = 'X'\nreference_price = 200000", "a price like"),
        ("[firms.ACME]", "mpids is missing"),
        ("[firms.ACME]\nmpids = []", "mpids must be a list of one or more MPIDs"),
        ("[firms.ACME]\nmpids = ['toolong']", "mpids must be a list of one or more MPIDs"),
        (FIRMS + "[firms.OTHER]\nmpids = ['ACMX']", "ACMX is an MPID of ACME and of OTHER; keep one of them"),
        ("[firms]\ndefault = 'ACME'", "default must be one of the firms, of which there is none"),
        (f"[accounts.BERT]\npassword = '{HASH}'\nfirm = 'ACME'", "firm must be one of HOUSE"),
        (f"[accounts.BERT]\npassword = '{HASH}'\nmpids = ['GSCO']", "GSCO is none of firm HOUSE's MPIDs (HOUS)"),
        ("[[symbol]]\nname = 'X'\nreference_price = 1\ntick = 0", "tick must be a price like"),
        ("[[symbol]]\nname = 'X'\nreference_price = 1\ntick = '0.00001'", "tick must be a price like"),
        ("[[symbol]]\nname = 'X'\nreference_price = 1\nlot = 0", "lot must be a whole number from 1"),
        (f"[accounts.Anna]\npassword = '{HASH}'", "accounts ANNA and Anna differ in case only"),
        ("[canary]\nsymbol = 'NONE'", "[canary]: symbol must be the name of a [[symbol]]"),
        (f"[canary]\nsymbol = 'TEST'\n[accounts.CANARY]\npassword = '{HASH}'", "the canary's account is CANARY"),
        ("= 1", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, more: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, MINIMAL + more)
    assert complaint in str(caught.value)
    assert str(tmp_path / "engine.toml") in str(caught.value)


def test_a_missing_file_and_missing_symbols_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        config.read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"at least one \[\[symbol\]\]|symbol is missing"):
        read(tmp_path, MINIMAL.split("[[symbol]]", maxsplit=1)[0])
    with pytest.raises(ConfigError, match=r"accounts\.toml does not exist"):
        read(tmp_path, "[accounts]\nfile = 'accounts.toml'\n[[symbol]]\nname = 'X'\nreference_price = 1")


@pytest.mark.parametrize(
    "hashed", ["", "secret", "scrypt$1$1$1$AAAA$AAAA", HASH[:-8]], ids=["empty", "clear", "weak", "cut"]
)
def test_a_wrong_or_broken_hash_lets_nobody_in(hashed: str) -> None:
    assert not passwords.verify("secret", hashed)


def test_the_right_password_is_remembered_and_no_other() -> None:
    verifier = passwords.Verifier()
    assert not verifier.remembered(HASH, "secret")
    assert verifier.check(HASH, "secret")
    assert verifier.remembered(HASH, "secret")
    assert not verifier.remembered(HASH, "other")
