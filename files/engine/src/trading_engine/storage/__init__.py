"""The engine's files: journal, snapshots, and logs of replies and market data; and the recovery from them."""
