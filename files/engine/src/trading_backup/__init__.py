"""The program `trading-backup`, which sends a host's journal, snapshots and configuration to an S3 bucket.

It runs beside the engine in a process of its own, and only reads the engine's files.
"""
