"""The engine's configuration files and the hashes of passwords."""
