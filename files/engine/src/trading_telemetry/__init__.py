"""Telemetry of a trading host: it serves the engine's published state as a web page, JSON and Prometheus metrics.

The engine publishes its state in shared memory. Telemetry only reads this memory, so that it never delays the engine.
"""
