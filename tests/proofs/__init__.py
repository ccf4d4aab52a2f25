"""Proofs: long tests of one statement about the product each.

A proof writes what it observed to docs/evidence, as a dated file of JSON. A proof that is interrupted continues where
it stopped.
"""
