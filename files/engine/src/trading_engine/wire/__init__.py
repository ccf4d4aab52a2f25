"""Codecs of the exchange's own protocols: bytes in, values out; no sockets, no state of an engine."""
