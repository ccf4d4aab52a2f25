"""Two pages in headless Chromium: the page of a host with two partitions, and the page of many hosts.

The host has two real engines, and the tests kill one of them.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from trading_engine.settings import passwords

from tests.integration.telemetry.browser import Browser
from tests.integration.telemetry.test_page import SCREENSHOTS, VERDICT, free_port, wait_for_port

NAMES = ("alpha", "beta")
TOKEN = "correct+horse&battery="
ENGINE = """
[order_entry]
port = {port}
[journal]
directory = "journal-{name}"
[itch]
directory = "itch-{name}"
[shared_memory]
path = "{name}.shm"
[admin]
socket = "{name}.sock"
[canary]
symbol = "{symbol}"
[accounts.BENCH]
password = "{password}"
[[symbol]]
name = "{symbol}"
reference_price = "100.00"
"""
TARGETS = "".join(f"{name} = 10_000_000\n" for name in ("avg_us", "p95_us", "p99_us", "throughput_per_s"))
TARGETS += "cpu_percent = 99\nmemory_percent = 99\n"
"""Targets that even a slow machine meets, because the tests only check which engines run."""
PARTITION = '[[partitions]]\nname = "{name}"\npath = "{directory}/{name}.shm"\n'
PRESSED = "[...document.querySelectorAll('#partitions [aria-pressed=true]')].map((b) => b.dataset.partition).join()"
BETA = "document.querySelector('[data-partition=beta]')"
TOLD = "document.querySelector('[role=status].heard').textContent"
LIVE = "document.querySelectorAll('[role=status], [aria-live]').length"
ASKED_HIDDEN_AND_SEEN = """
(() => {
  const [asked, { fetch }] = [[], window];
  window.fetch = (...more) => { asked.push(document.hidden); return fetch(...more); };
  for (const value of [true, false]) {
    Object.defineProperty(document, 'hidden', { value, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }
  window.fetch = fetch;
  return asked.join();
})()
""".strip()
REASON = "document.getElementById('verdict-reason').textContent"
SYMBOL = "document.querySelector('#symbols td')?.textContent"
STATES = """
[...document.querySelectorAll('#fleet tbody tr')].map(
  ({ cells }) => [cells[0], cells[1], cells[2].firstChild].map((part) => part.textContent).join(' ')
).join()
""".strip()
ONE = "one alpha ✓ Healthy,one beta"

Process = subprocess.Popen[bytes]


@contextmanager
def started(module: str, config: Path, port: int, *command: str) -> Iterator[Process]:
    process = subprocess.Popen([sys.executable, "-m", module, *command, "--config", config])
    try:
        wait_for_port(port)
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[dict[str, Process]]:
    password = passwords.hash_password("secret")
    with ExitStack() as running:
        found = {}
        for name in NAMES:
            port, config = free_port(), tmp_path / f"{name}.toml"
            config.write_text(ENGINE.format(name=name, port=port, symbol=name[:1].upper(), password=password))
            found[name] = running.enter_context(started("trading_engine", config, port))
        yield found


@pytest.fixture
def url(tmp_path: Path, engines: dict[str, Process]) -> Iterator[str]:
    port, config = free_port(), tmp_path / "telemetry.toml"
    partitions = "".join(PARTITION.format(name=name, directory=tmp_path) for name in NAMES)
    (tmp_path / "slo.toml").write_text(TARGETS)
    (tmp_path / "token").write_text(TOKEN)
    config.write_text(
        f'{partitions}[http]\naddress = "127.0.0.1"\nport = {port}\n[slo]\nfile = "{tmp_path}/slo.toml"\n'
        f'[access]\ntoken_file = "{tmp_path}/token"\n'
    )
    with started("trading_telemetry", config, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "chromium")
    yield browser
    browser.close()


def press(browser: Browser, key: str, code: int) -> None:
    for kind in ("rawKeyDown", "char", "keyUp"):
        text = {"text": "\r"} if kind == "char" and key == "Enter" else {}
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


def test_the_switch_shows_who_is_ill_and_takes_the_keyboard_to_it(
    url: str, engines: dict[str, Process], browser: Browser
) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name in ("beta", "alpha"):  # the URL keeps the partition, with and without a login
        browser.open(f"{url}/?partition={name}#token={TOKEN}", 1280, 900)
        browser.wait_for(f"location.hash === '' && {VERDICT} === 'ok' && {PRESSED} === '{name}'")
        assert browser.value("location.search") == f"?partition={name}"
    browser.open(url, 1280, 900)
    browser.wait_for(f"{VERDICT} === 'ok' && {SYMBOL} === 'A'")
    assert browser.value(PRESSED) == "alpha"

    engines["beta"].send_signal(signal.SIGKILL)
    engines["beta"].wait()
    browser.wait_for(f"{BETA}.dataset.status === 'failing'")
    assert browser.value(f"{BETA}.textContent") == "beta ✕ Failing"
    assert browser.value(TOLD) == "beta: Failing"
    assert browser.value(VERDICT) == "ok"  # alpha, which is shown, still runs
    browser.screenshot(SCREENSHOTS / "partition-of-a-host.png")

    browser.value("document.querySelector('[data-partition=alpha]').focus()")
    press(browser, "Tab", 9)
    assert browser.value("document.activeElement.dataset.partition") == "beta"
    press(browser, "Enter", 13)
    browser.wait_for(f"{VERDICT} === 'failing' && {REASON}.includes('engine down')")
    assert browser.value(PRESSED) == "beta"
    assert browser.value("document.activeElement.dataset.partition") == "beta"  # the focus stays
    assert browser.value("location.search") == "?partition=beta"
    links = browser.value("[...document.querySelectorAll('footer a')].map((link) => link.pathname + link.search)")
    assert links == ["/health?partition=beta", "/latest?partition=beta", "/metrics", "/api"]
    browser.screenshot(SCREENSHOTS / "partition-down.png")

    browser.open(f"{url}/?partition=gone", 390, 844)
    browser.wait_for(f"{VERDICT} === 'ok' && {PRESSED} === 'alpha'")
    assert browser.value("location.search") == ""
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    browser.screenshot(SCREENSHOTS / "partition-on-a-phone.png")
    assert [problem for problem in browser.problems if not re.search("401|404", problem)] == []


@pytest.fixture
def fleet_url(tmp_path: Path, url: str) -> Iterator[str]:
    port, config = free_port(), tmp_path / "fleet.toml"
    hosts = {"one": url, "two": f"http://127.0.0.1:{free_port()}"}
    token = f'token_file = "{tmp_path}/token"\n'
    tables = "".join(f'[[hosts]]\nname = "{name}"\nurl = "{address}"\n{token}' for name, address in hosts.items())
    config.write_text(f"{tables}[http]\nport = {port}\n")
    with started("trading_telemetry", config, port, "fleet"):
        yield f"http://127.0.0.1:{port}"


def test_the_page_of_many_hosts_shows_who_is_down_and_since_when(
    fleet_url: str, url: str, engines: dict[str, Process], browser: Browser
) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    browser.open(fleet_url, 1280, 600)
    browser.wait_for(f"{STATES}.startsWith('{ONE} ✓ Healthy,two \\u2013 ✕ No answer since ')")
    assert browser.value("document.getElementById('answering').textContent") == "1 of 2"
    assert browser.value(TOLD).endswith("two: No answer")
    assert browser.value(LIVE) == 1
    browser.wait_for(f"{ASKED_HIDDEN_AND_SEEN} === 'false'")  # true again if the page was just asking

    engines["beta"].send_signal(signal.SIGKILL)
    engines["beta"].wait()
    browser.wait_for(f"{STATES}.startsWith('{ONE} ✕ Failing,two')")
    assert browser.value(TOLD) == "one beta: Failing"
    reason = browser.value(REASON)
    assert "one beta: engine down" in reason
    assert "two: connection refused" in reason
    browser.screenshot(SCREENSHOTS / "fleet.png")
    links = browser.value("[...document.querySelectorAll('#fleet a')].map((link) => link.href)")
    assert links[:2] == [f"{url}/?partition=alpha", f"{url}/?partition=beta"]

    browser.open(fleet_url, 390, 844, dark=True)
    browser.wait_for(f"{STATES}.startsWith('{ONE} ✕ Failing,two')")
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    browser.screenshot(SCREENSHOTS / "fleet-on-a-phone.png")
    assert browser.problems == []
