"""Open-loop load generator for the order-entry port: standard library and `trading_engine.wire` only.

It runs wherever Python 3.11 is, without an installation: `PYTHONPATH=files/engine/src python3 -m trading_bench`.
"""
