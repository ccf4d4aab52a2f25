"""The program `trading-backup`, which sends a host's journal, snapshots and configuration to an S3 bucket.

It runs in a process of its own, next to the engine. It only reads the engine's files.
"""
