"""The program `trading-feed`, which sends the engine's market data (ITCH 5.0) to subscribers.

It runs in a process of its own, so that subscribers never delay the engine. It reads the log files that the engine
writes, and the newest messages from a ring buffer in shared memory.
"""
