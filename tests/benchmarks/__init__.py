"""Benchmarks of the engine. Each figure has a unit. Many have a reference, measured in the same run."""
