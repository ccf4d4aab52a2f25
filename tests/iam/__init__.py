"""Judges recorded calls by the deployer's policies as AWS would: a call's permissions, and who has them."""
