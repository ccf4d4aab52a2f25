"""Market data for subscribers: serves the ITCH log that the engine writes, from a process of its own."""
