"""Proofs are long tests. Each proof tests one statement about the product.

A proof writes what it observed to docs/evidence, as a dated file of JSON. A proof that is interrupted continues where
it stopped.
"""
