"""The only exception of the sandbox whose message is written for users."""


class SandboxError(Exception):
    """A problem, its place and its remedy in a few lines, shown without a traceback."""
