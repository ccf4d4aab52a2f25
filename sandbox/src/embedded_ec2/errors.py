"""The only exception of the sandbox whose message is written for users."""


class SandboxError(Exception):
    """A problem that the user has to solve.

    The message has the problem, its place and its remedy in a few lines, and is shown without a traceback.
    """
