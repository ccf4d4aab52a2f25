"""Telemetry of the trading host: reads the engine's published state, answers HTTP. Never talks to the engine itself."""
