"""Checks recorded API calls against IAM policies as AWS would.

The package finds the permissions that each call needs, and whether a policy grants them.
"""
