"""What the engine publishes in shared memory: its state for telemetry, and its market data for the feed."""
