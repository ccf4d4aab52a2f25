"""Where moto differs from AWS in a way that shows, made right.

A file is `<service>_<thing>.py`. Its `install(hooks)` replaces functions of moto's, and says what was wrong with each.
"""

import importlib
import pkgutil

from embedded_ec2.hooks import Hooks


def install(hooks: Hooks) -> None:
    """Install every patch in this process, once."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}").install(hooks)


def replace(owner: object, name: str, value: object) -> None:
    """Put our function in the place of moto's; a name that moto no longer has is a mistake to hear of at once."""
    getattr(owner, name)
    setattr(owner, name, value)
