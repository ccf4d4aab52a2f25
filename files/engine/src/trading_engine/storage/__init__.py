"""Journal, snapshots and message logs, and how they are read again."""
