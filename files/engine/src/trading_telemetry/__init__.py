"""Telemetry of the trading host: it serves the engine's published state as a web page, JSON and Prometheus metrics.

The engine publishes its state in shared memory. Telemetry only reads there, so that it never delays the engine.
"""
