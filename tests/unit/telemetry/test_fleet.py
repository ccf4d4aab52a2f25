"""The page of many hosts.

Its service reads a real telemetry service, and hosts that answer late, wrongly or never.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import socketserver
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from trading_engine.settings.tables import ConfigError
from trading_telemetry import fleet
from trading_telemetry.__main__ import listen, main, settings
from trading_telemetry.app import make_app
from trading_telemetry.config import Served, load_config
from trading_telemetry.fleet import FIGURES, Fleet, HostReader
from trading_telemetry.fleet_app import make_fleet_app
from trading_telemetry.fleet_config import Host, load_fleet

from tests.unit.telemetry.conftest import Publisher

POLL_S = 0.1
TOKEN = "correct-horse-battery"


@contextmanager
def serving(app: Starlette, config: Served) -> Iterator[int]:
    """Serve the application at a free port until the context ends, and yield the port."""
    config = dataclasses.replace(config, port=0)
    with listen(config) as listener:
        server = uvicorn.Server(settings(app, config))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def telemetry(config_file: Path) -> Iterator[int]:
    config = load_config(config_file)
    with serving(make_app(config), config) as port:
        yield port


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make the host's certificate, and write its key to the same folder. Return the certificate's path."""
    path = tmp_path / "host.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=localhost"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {path.with_suffix('.key')} -out {path}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return path


@pytest.fixture
def partitioned_file(tmp_path: Path, slo_path: Path, token_file: Path, certificate: Path) -> Iterator[Path]:
    """Yield the configuration of a host that uses TLS and a token.

    The host has two partitions. alpha has an engine, and beta has none.
    """
    path = tmp_path / "partitioned.toml"
    tables = "".join(f'[[partitions]]\nname = "{name}"\npath = "{tmp_path}/{name}.shm"\n' for name in ("alpha", "beta"))
    path.write_text(
        f'{tables}[http]\naddress = "127.0.0.1"\n[slo]\nfile = "{slo_path}"\n[access]\ntoken_file = "{token_file}"\n'
        f'certificate_file = "{certificate}"\nkey_file = "{certificate.with_suffix(".key")}"\n'
    )
    publisher = Publisher(tmp_path / "alpha.shm")
    publisher.gauge("journal_used_bytes", 250)
    publisher.publish()
    yield path
    publisher.writer.close()


@pytest.fixture
def partitioned(partitioned_file: Path) -> Iterator[int]:
    """Run telemetry of a host with two partitions until the test ends, and yield its port."""
    with telemetry(partitioned_file) as port:
        yield port


def read(reader: HostReader) -> dict[str, Any]:
    asyncio.run(reader.read())
    document = reader.document()
    JSONResponse(document)  # raises ValueError for what a browser cannot read
    return document


def host(port: int, token_file: Path | None = None, certificate: Path | None = None) -> Host:
    return Host("one", f"http{'s' if certificate else ''}://127.0.0.1:{port}", token_file, certificate)


def test_a_host_has_a_row_for_each_partition(partitioned: int, token_file: Path, certificate: Path) -> None:
    document = read(HostReader(host(partitioned, token_file, certificate)))
    assert (document["problem"], document["silent_since_ns"]) == (None, None)
    alpha, beta = document["partitions"]
    assert (alpha["partition"], alpha["status"], alpha["reasons"]) == ("alpha", "ok", [])
    assert (alpha["journal_used_ratio"], alpha["p99_target_us"], alpha["sessions"]) == (0.25, 2000, 0)
    assert (beta["partition"], beta["status"], beta["age_s"]) == ("beta", "failing", None)
    assert beta["reasons"][0].startswith("engine down: ")


def test_a_host_without_partitions_has_one_row_without_a_name(engine: Publisher, config_file: Path) -> None:
    engine.orders(1000, latency_us=300)
    with telemetry(config_file) as port:
        engine.publish()
        deadline_s = time.monotonic() + 20
        while (row := read(HostReader(host(port)))["partitions"][0])["p99_us"] is None:
            engine.orders(1000, latency_us=300)
            engine.publish()
            assert time.monotonic() < deadline_s
            time.sleep(POLL_S)
    assert (row["partition"], row["status"]) == (None, "ok")
    assert row["p99_us"] == pytest.approx(300, rel=0.01)
    assert row["orders_per_s"] > 0


def test_a_host_that_falls_silent_is_told_with_since_when_and_by_its_partitions_names(
    partitioned_file: Path, token_file: Path, certificate: Path
) -> None:
    with telemetry(partitioned_file) as port:
        reader = HostReader(host(port, token_file, certificate))
        assert read(reader)["problem"] is None
        heard_by_ns = time.time_ns()
    document = read(reader)
    assert document["problem"] == "connection refused"
    assert 0 <= heard_by_ns - document["silent_since_ns"] < 20e9
    assert document["partitions"] == [
        {"partition": name, "status": None, "reasons": [], **dict.fromkeys(FIGURES)} for name in ("alpha", "beta")
    ]
    since_ns = document["silent_since_ns"]
    assert read(reader)["silent_since_ns"] == since_ns  # the second request changes nothing


def test_what_was_read_long_ago_is_not_shown_as_if_it_were_so(
    engine: Publisher, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with telemetry(config_file) as port:
        reader = HostReader(host(port))
        assert read(reader)["partitions"][0]["status"] == "ok"
    later_ns = time.time_ns() + 60_000_000_000
    monkeypatch.setattr(fleet, "time", SimpleNamespace(time_ns=lambda: later_ns))
    document = reader.document()
    assert (document["problem"], document["partitions"][0]["status"]) == ("not asked since", None)


@pytest.mark.parametrize("given", ["neither", "other token", "other certificate"])
def test_who_is_not_let_in_or_does_not_trust_says_so(
    partitioned: int, token_file: Path, certificate: Path, tmp_path: Path, given: str
) -> None:
    other = tmp_path / "other"
    other.write_text(TOKEN[::-1])
    if given == "other certificate":
        asked = Host("one", f"https://127.0.0.1:{partitioned}", token_file, None)
        assert read(HostReader(asked))["problem"].startswith("its certificate is refused: ")
    else:
        asked = host(partitioned, other if given == "other token" else None, certificate)
        assert read(HostReader(asked))["problem"] == "it asks for another token"


def test_the_certificate_of_a_host_is_trusted_as_it_is_whoever_signed_it(
    engine: Publisher, config_file: Path, tmp_path: Path
) -> None:
    ca, leaf, request = (tmp_path / name for name in ("ca.crt", "leaf.crt", "leaf.csr"))
    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"openssl req -x509 {new} -subj /CN=ca -keyout {ca.with_suffix('.key')} -out {ca}",
        f"openssl req {new} -subj /CN=host -addext subjectAltName=IP:127.0.0.1 -keyout {leaf.with_suffix('.key')} "
        f"-out {request}",
        f"openssl x509 -req -in {request} -CA {ca} -CAkey {ca.with_suffix('.key')} -CAcreateserial "
        f"-copy_extensions copy -out {leaf}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    config_file.write_text(
        f'{config_file.read_text()}[access]\ncertificate_file = "{leaf}"\nkey_file = "{leaf.with_suffix(".key")}"\n'
    )
    with telemetry(config_file) as port:
        for trusted in (leaf, ca):
            assert read(HostReader(host(port, None, trusted)))["problem"] is None


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def whole(body: bytes) -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


def body(**more: Any) -> bytes:
    document = {
        "age_s": 0.1, "status": "ok", "checks": [], "windows": {"10s": None}, "gauges": {},
        "slo": {"latency_us": None, "targets": None, "last_hour": {}}, **more,
    }  # fmt: skip
    return json.dumps(document).encode()


def latest(**more: Any) -> bytes:
    return whole(body(**more))


@contextmanager
def answering(answer: Callable[[Any], Iterator[bytes]]) -> Iterator[int]:
    """Run a server in place of a host until the context ends, and yield its port.

    It sends these bytes to every client.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.recv(65536)
                for part in answer(self.request):
                    self.request.sendall(part)
            except OSError:  # the client disconnected
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([b""], "it closed the connection before its answer was whole"),
        ([HEAD + b"content-length: 100\r\n\r\n{}"], "it closed the connection before its answer was whole"),
        ([b"220 smtp.example.com ready\r\n"], "what it answers is not HTTP"),
        ([b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"], "it answers 503"),
        ([b"HTTP/1.1 429 Busy\r\ncontent-length: 0\r\n\r\n"], "it is asked too often"),
        ([whole(b"<html>")], "its answer is no JSON"),
        ([whole(b'{"a": NaN}')], "its answer is no JSON"),
        ([whole(b"[" * 100_000)], "its answer is no JSON"),
        ([whole(b"\xff")], "its answer is no JSON"),
        ([whole(b"[1]")], "its answer is not that of a trading host's /latest"),
        ([whole(b"{}")], "its answer is not that of a trading host's /latest"),
        ([latest(age_s="soon")], "its answer is not that of a trading host's /latest"),
        ([latest(status="splendid")], "its answer is not that of a trading host's /latest"),
        ([latest(age_s=10**400)], "its answer is not that of a trading host's /latest"),
        ([whole(body().replace(b"0.1", b"1e999"))], "its answer is not that of a trading host's /latest"),
        ([latest()[:40], latest()[40:]], None),
        ([latest(partitions=7)], "its answer is not that of a trading host's /latest"),
        ([latest(partitions={"\ud800": "ok"})], "its answer is not that of a trading host's /latest"),
        (
            [latest(partition="p0", partitions={f"p{number}": "ok" for number in range(65)})],
            "it names 65 partitions, and more than 64 are not read",
        ),
    ],
)
def test_what_no_telemetry_answers_is_a_problem_of_that_host_alone(parts: list[bytes], problem: str | None) -> None:
    with answering(lambda _: iter(parts)) as port:
        assert read(HostReader(host(port)))["problem"] == problem


def test_what_no_browser_could_read_is_replaced_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [{"name": "a", "status": "failing", "reason": "\ud800" + "x" * 10_000}]
    with answering(lambda _: iter([latest(checks=checks, status="failing", age_s=0.5)])) as port:
        (row,) = read(HostReader(host(port)))["partitions"]
    assert row["reasons"] == ["?" + "x" * (fleet.TEXT_CHARACTERS - 1)]


@dataclasses.dataclass
class Many:
    """A fake host with the partitions p0, p1, …

    `odd` replaces the normal answers of some partitions. A partition whose answer is None never answers.
    """

    partitions: int
    odd: dict[str, Response | None] = dataclasses.field(default_factory=dict)
    more: dict[str, Any] = dataclasses.field(default_factory=dict)
    connections: set[Any] = dataclasses.field(default_factory=set)

    async def latest(self, request: Request) -> Response:
        self.connections.add(request.client)
        name = request.query_params.get("partition", "p0")
        answer = self.odd.get(name, Response(self.of(name)))
        while answer is None and not await request.is_disconnected():
            await asyncio.sleep(0.02)
        return answer or Response()

    def of(self, name: str) -> bytes:
        return body(partition=name, partitions={f"p{number}": "ok" for number in range(self.partitions)}, **self.more)

    @contextmanager
    def served(self, config_file: Path) -> Iterator[int]:
        app = Starlette(routes=[Route("/latest", self.latest)])
        with serving(app, load_config(config_file)) as port:
            yield port


def test_partitions_that_answered_in_time_are_shown_and_the_others_named(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LIMIT_S", 0.8)
    with Many(4, {"p2": None}).served(config_file) as port:
        document = read(HostReader(host(port)))
    assert document["problem"] is None
    late = ["no answer within 0.8 s"]
    assert [(each["partition"], each["status"], each["reasons"]) for each in document["partitions"]] == [
        ("p0", "ok", []), ("p1", "ok", []), ("p2", None, late), ("p3", None, late),
    ]  # fmt: skip


def test_a_partition_whose_answer_is_none_harms_no_other_and_the_page_says_that_something_fails(
    config_file: Path, fleet_file: Callable[[int], Path]
) -> None:
    many = Many(6)
    many.odd = {
        "p1": Response("", 404),
        "p2": Response(many.of("p3")),
        "p3": Response("{}"),
        "p4": Response(many.of("p4"), headers={"connection": "close"}),
    }

    async def shown(hosts: Fleet) -> dict[str, Any]:
        reading = asyncio.create_task(hosts.keep_reading())
        async with asyncio.timeout(20):
            while not (document := hosts.document())["hosts"][0]["partitions"]:
                await asyncio.sleep(POLL_S)
        reading.cancel()
        return document

    with many.served(config_file) as port:
        config = load_fleet(fleet_file(port))
        document = asyncio.run(shown(Fleet(dataclasses.replace(config, hosts=config.hosts[:1]))))
    no_telemetry = "its answer is not that of a trading host's /latest"
    assert [(each["status"], each["reasons"]) for each in document["hosts"][0]["partitions"]] == [
        ("ok", []), (None, ["it answers 404"]), (None, [no_telemetry]), (None, [no_telemetry]), ("ok", []), ("ok", []),
    ]  # fmt: skip
    assert (document["hosts"][0]["problem"], document["status"]) == (None, "failing")


def test_names_that_nobody_answers_for_keep_no_other_waiting(
    config_file: Path, fleet_file: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, look_up = threading.Event(), socket.getaddrinfo
    silent = [Host(f"silent-{number}", f"http://silent-{number}", None, None) for number in range(40)]

    def waiting(name: Any, *more: Any, **named: Any) -> Any:
        if str(name).startswith("silent"):
            answered.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no name server")
        return look_up(name, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", waiting)
    with Many(1).served(config_file) as port:
        config = load_fleet(fleet_file(port))
        hosts = (*silent, Host("one", f"http://localhost:{port}", None, None))

        async def last(fleet_of_all: Fleet) -> Any:
            reading = asyncio.create_task(fleet_of_all.keep_reading())
            async with asyncio.timeout(20):
                while (problem := fleet_of_all.document()["hosts"][-1]["problem"]) == "not asked yet":
                    await asyncio.sleep(POLL_S)
            reading.cancel()
            answered.set()
            return problem

        assert asyncio.run(last(Fleet(dataclasses.replace(config, hosts=hosts)))) is None


def test_partitions_are_asked_for_on_one_connection_and_only_one_answer_is_in_memory(config_file: Path) -> None:
    many, names = Many(6, more={"symbols": [{}] * 60_000}), [f"p{number}" for number in range(6)]
    many.odd = {name: Response(many.of(name)) for name in names}
    with many.served(config_file) as port:
        reader = HostReader(host(port))
        tracemalloc.start()
        try:
            document = read(reader)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert [(each["partition"], each["status"]) for each in document["partitions"]] == [(name, "ok") for name in names]
    assert len(many.connections) == 1
    assert peak_bytes < 16e6  # an answer has 4 to 5 MB


def for_ever(part: bytes, pause: threading.Event) -> Callable[[Any], Iterator[bytes]]:
    def answer(_connection: Any) -> Iterator[bytes]:
        yield HEAD
        while not pause.wait(0.02):
            yield part

    return answer


@pytest.mark.parametrize("part", [b"", b"x", b"x-more: 1\r\n"])
def test_a_host_that_never_ends_its_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, part: bytes) -> None:
    monkeypatch.setattr(fleet, "LIMIT_S", 0.3)
    ended = threading.Event()
    with answering(for_ever(part, ended)) as port:
        assert read(HostReader(host(port)))["problem"] == "no answer within 0.3 s"
        ended.set()


def test_an_answer_without_an_end_is_cut_off() -> None:
    with answering(lambda _: iter([HEAD + b"\r\n", *[b"x" * 10_000] * 30])) as port:
        assert read(HostReader(host(port)))["problem"] == "its answer is longer than 262144 bytes"


@pytest.fixture
def fleet_file(tmp_path: Path, token_file: Path) -> Callable[[int], Path]:
    def write(port: int) -> Path:
        path = tmp_path / "fleet.toml"
        path.write_text(
            f'[access]\ntoken_file = "{token_file}"\n[[hosts]]\nname = "one"\nurl = "http://127.0.0.1:{port}"\n'
            '[[hosts]]\nname = "two"\nurl = "http://127.0.0.1:9"\n'
        )
        return path

    return write


def test_the_page_is_for_who_has_the_token_and_has_every_host(
    engine: Publisher, config_file: Path, fleet_file: Callable[[int], Path]
) -> None:
    with telemetry(config_file) as port:
        config = load_fleet(fleet_file(port))
        with (
            serving(make_fleet_app(config), config) as page,
            httpx.Client(base_url=f"http://127.0.0.1:{page}") as client,
        ):
            assert client.get("/fleet").status_code == 401
            client.headers["authorization"] = f"Bearer {TOKEN}"
            assert client.get("/", headers={"accept": "text/html"}).text.startswith("<!doctype html>")
            assert client.get("/").json()["links"] == {"fleet": "/fleet"}
            assert client.get("/nothing").json() == {"error": "Not Found"}
            deadline_s = time.monotonic() + 20
            while "not asked yet" in (text := client.get("/fleet").text):
                assert time.monotonic() < deadline_s
                time.sleep(POLL_S)
    document = json.loads(text)
    assert document["status"] == "failing"
    one, two = document["hosts"]
    assert (one["name"], one["problem"], len(one["partitions"])) == ("one", None, 1)
    assert (two["name"], two["problem"], two["partitions"]) == ("two", "connection refused", [])


def test_a_login_to_the_page_of_many_hosts_leaves_that_to_a_host_as_it_is(
    engine: Publisher, config_file: Path, token_file: Path, fleet_file: Callable[[int], Path]
) -> None:
    """After a login to the page of many hosts, the login to a host's own page is still valid.

    Browsers use the same cookies for all ports of an address. The two pages can have the same address, so their cookies
    need different names.
    """
    other = "another-correct-horse"
    token_file.with_name("host.token").write_text(other)
    config_file.write_text(f'{config_file.read_text()}[access]\ntoken_file = "{token_file.with_name("host.token")}"\n')
    with telemetry(config_file) as port:
        config = load_fleet(fleet_file(port))
        with serving(make_fleet_app(config), config) as page, httpx.Client() as browser:
            for at, token in ((port, other), (page, TOKEN)):
                assert browser.post(f"http://127.0.0.1:{at}/login", data={"token": token}).status_code == 303
            assert browser.get(f"http://127.0.0.1:{port}/latest").status_code == 200
            assert browser.get(f"http://127.0.0.1:{page}/fleet").status_code == 200


HOST = '[[hosts]]\nname = "a"\nurl = "http://a:1"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "[[hosts]] is missing; give one for each host of the page"),
        ("[[hosts]]", "[[hosts]] number 1: name is missing"),
        (HOST + '[[hosts]]\nname = "a"\nurl = "http://b"', "number 2: name 'a' is that of "),
        (HOST + '[[hosts]]\nname = "b"\nurl = "http://a:1/"', "number 2: url 'http://a:1' is that of "),
        (HOST + "port = 1", "number 1: unknown key 'port'"),
        (HOST + 'ca_file = "/x"', "ca_file is for a url that begins with https, not http://a:1"),
        *[
            (f'[[hosts]]\nname = "a"\nurl = "{url}"', "number 1: url must be an address like https://10.0.1.5:8000")
            for url in (
                "10.0.1.5",
                "ftp://a",
                "http://a/latest",
                "http://a:port",
                "http://u@a",
                "http://a b",
                "http://",
            )
        ],
    ],
)
def test_a_wrong_file_is_one_line_with_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    assert main(["fleet", "--config", str(path), "--check"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert str(path) in said
    assert said.count("\n") == 1


def test_the_example_passes_the_check_and_files_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fleet.toml"
    assert main(["example-fleet"]) == 0
    path.write_text(capsys.readouterr().out)
    assert main(["fleet", "--config", str(path), "--check"]) == 0
    path.write_text(f'[[hosts]]\nname = "a"\nurl = "https://a"\nca_file = "{tmp_path}/none"\n')
    assert main(["fleet", "--config", str(path), "--check"]) == 2
    assert "[[hosts]] a ca_file: cannot use " in capsys.readouterr().err
    path.write_text(f'{HOST}token_file = "{tmp_path}/none"\n')
    with pytest.raises(ConfigError, match=r"\[\[hosts\]\] a token_file: cannot read"):
        load_fleet(path).check_surroundings()
    assert main(["fleet", "--config", str(tmp_path / "none.toml")]) == 2
    assert "`trading-telemetry example-fleet` prints one" in capsys.readouterr().err
