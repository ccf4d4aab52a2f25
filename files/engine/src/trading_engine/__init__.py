"""Matching engine: OUCH 4.2 over SoupBinTCP in, replies and an ITCH 5.0 log out."""

__version__ = "0.1.0"
