"""Open-loop load generator for the order-entry port: standard library and `trading_engine.wire` only.

It runs wherever a Python 3.11 is, without installing anything: `PYTHONPATH=files/engine/src python3 -m trading_bench`.
"""
