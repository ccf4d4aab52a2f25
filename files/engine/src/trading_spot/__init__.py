"""The wait for AWS to take a Spot instance back."""
