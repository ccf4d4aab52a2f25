"""Log in as the test account, and print which session it is and the number of its next message."""

import json
import socket
from pathlib import Path

from trading_engine.wire import soupbintcp

PASSWORD = Path("/etc/trading/secrets/BENCH.password").read_text(encoding="ascii").splitlines()[0]
LIVE = 0

with socket.create_connection(("127.0.0.1", 9001), 10) as connection:
    connection.sendall(soupbintcp.login_request("BENCH", PASSWORD, sequence=LIVE))
    splitter = soupbintcp.Splitter()
    packets = []
    while not packets:
        packets = splitter.feed(connection.recv(65536))
kind, payload = packets[0]
if kind != soupbintcp.LOGIN_ACCEPTED:
    raise SystemExit(f"the engine refused the login: {payload!r}")
accepted = soupbintcp.parse_login_accepted(payload)
print(json.dumps({"session": str(accepted.session).strip(), "next": accepted.sequence}))
