"""Judges recorded calls by the deployer's policies as AWS would: which actions a call needs on what, and who allows it."""
