"""A Python interpreter for Ansible's modules that has already imported boto3.

A module of amazon.aws uses most of its CPU time to import boto3 and to compile its own files. A server process does
this once. For each module, Ansible starts a small client program, which passes its arguments, environment and open
files to the server. The server forks, and the child runs the module as a new interpreter would. The client starts a new
interpreter when it gets options that no module uses, such as -m.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import marshal
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
import zipimport
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

SERVICES = ("ec2", "iam", "sts", "cloudwatch", "logs", "sns", "ssm", "s3")
CLIENT = """#!{python} -ISB
import array, json, os, socket, sys
if sys.argv[1:2] and sys.argv[1].startswith("-") and sys.argv[1] != "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
given = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    files = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
    server.sendmsg([len(given).to_bytes(4, "big")], [files])
    server.sendall(given)
    answer = server.recv(1)
sys.exit(answer[0] if answer else 70)
"""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Run the server, and yield the path of the client. Ansible uses the client as the modules' interpreter."""
    client, address = folder / "python", str(folder / "socket")
    client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
    client.chmod(0o755)
    command = [sys.executable, str(Path(__file__)), address]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n", "the server of interpreters does not start"
            yield client
        finally:
            server.terminate()


def serve(address: str) -> NoReturn:
    """Run the module of each client that connects, until this process is terminated."""
    import boto3

    _keep_service_models()
    _keep_compiled_modules(Path(address).parent)
    for service in SERVICES:
        boto3.session.Session().client(service, region_name="us-east-1")
    signal.signal(signal.SIGCHLD, _reap)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(8)
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(client)
            client.close()


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep_service_models() -> None:
    """Let botocore parse the description of each AWS service only once."""
    from botocore.loaders import JSONFileLoader

    load, known = JSONFileLoader.load_file, dict[str, Any]()

    def load_once(self: JSONFileLoader, path: str) -> Any:
        if path not in known:
            known[path] = load(self, path)
        return known[path]

    JSONFileLoader.load_file = load_once


def _keep_compiled_modules(folder: Path) -> None:
    """Let zipimport compile each source text only once. Ansible sends modules as zip files without compiled files."""
    compiled = zipimport._compile_source  # type: ignore[attr-defined]

    def compile_once(path: str, source: bytes) -> Any:
        kept = folder / hashlib.sha256(path.rpartition(".zip/")[2].encode() + source).hexdigest()
        if kept.exists():
            return marshal.loads(kept.read_bytes())  # noqa: S302  written here
        code = compiled(path, source)
        new = kept.with_suffix(f".{os.getpid()}")
        new.write_bytes(marshal.dumps(code))
        new.rename(kept)
        return code

    zipimport._compile_source = compile_once  # type: ignore[attr-defined]


def _run(client: socket.socket) -> NoReturn:
    """Run a client's program in this process, with the client's files and environment. Answer with the exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    files = array.array("i")
    head, ancillary, _, _ = client.recvmsg(4, socket.CMSG_SPACE(3 * files.itemsize))
    files.frombytes(ancillary[0][2])
    given = b""
    while len(given) < int.from_bytes(head, "big"):
        given += client.recv(65536)
    arguments, folder, environment = json.loads(given)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = 1
    try:
        sys.argv = arguments or [""]
        if arguments[:1] == ["-c"]:
            sys.argv = ["-c", *arguments[2:]]
            exec(arguments[1], {"__name__": "__main__"})  # noqa: S102
        elif arguments:
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            exec(compile(sys.stdin.read(), "<stdin>", "exec"), {"__name__": "__main__"})  # noqa: S102
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        client.sendall(bytes([code & 255]))
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
