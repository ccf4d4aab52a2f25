"""Waits for AWS to take a Spot instance back."""
