"""Benchmarks of the engine: every figure with its unit, and a reference measured in the same run."""
