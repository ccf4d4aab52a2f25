"""The one exception a user is meant to read."""


class SandboxError(Exception):
    """What is wrong, where, and what to do about it, in a line or a few; shown without a traceback."""
