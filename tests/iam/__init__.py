"""Judges recorded calls by the deployer's policies as AWS would: what a call needs, and who allows it."""
