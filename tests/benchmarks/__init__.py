"""Benchmarks of the engine. Each figure has a unit. Many figures have a reference value from the same run."""
