"""The load generator: it sends orders to an engine at a fixed rate and measures how long the answers take.

"Open loop" means that it sends each order at its scheduled time, even if earlier answers are late. It needs only the
standard library and `trading_engine`. So it runs on any system with Python 3.11 without an installation:
`PYTHONPATH=files/engine/src python3 -m trading_bench`.
"""
