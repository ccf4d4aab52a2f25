"""The matching engine.

It receives orders by OUCH 4.2 over SoupBinTCP, matches them, and sends replies. It writes the market data to log files
in the format of ITCH 5.0, from which `trading_feed` sends it to subscribers.
"""

__version__ = "0.1.0"
