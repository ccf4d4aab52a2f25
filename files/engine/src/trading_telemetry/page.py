"""The page for people: what /latest says, rendered on the server."""

import html

from trading_telemetry.latest import Document

STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #8884}
"""


def render(latest: Document) -> str:
    checks = "".join(
        f"<tr><th>{html.escape(check['name'])}<td>{html.escape(check['status'])}<td>{html.escape(check['reason'])}</tr>"
        for check in latest["checks"]
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Trading host: {html.escape(latest['status'])}</title><style>{STYLE}</style>"
        f"<h1>Trading host: {html.escape(latest['status'])}</h1><table>{checks}</table>"
        '<p><a href="/health">/health</a> <a href="/latest">/latest</a> <a href="/metrics">/metrics</a></p></html>'
    )
