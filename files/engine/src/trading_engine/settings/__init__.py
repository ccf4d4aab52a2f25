"""The configuration file, checked, and the passwords' hashes."""
