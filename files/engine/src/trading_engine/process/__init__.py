"""The engine as a process: start and stop, timers, administration, the canary, and tools for operators."""
