"""Telemetry of the trading host: it reads the engine's published state and answers HTTP. It never asks the engine."""
