"""The deterministic machine: the same inputs give the same bytes."""
