"""Proofs: long runs that test one promise and write what they observed as a dated JSON record to docs/evidence.

An interrupted proof continues where it stopped.
"""
