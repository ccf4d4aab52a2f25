"""Checks recorded API calls against IAM policies as AWS would: which permissions a call needs, and who has them."""
