"""Corrections of moto's visible differences from AWS.

A file is `<service>_<thing>.py`. Its `install(hooks)` replaces functions of moto; the docstrings describe moto's
errors.
"""

import importlib
import pkgutil

from embedded_ec2.hooks import Hooks


def install(hooks: Hooks) -> None:
    """Install every patch in this process, once."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}").install(hooks)


def replace(owner: object, name: str, value: object) -> None:
    """Replace a function of moto by ours. Fails at once when moto no longer has that name."""
    getattr(owner, name)
    setattr(owner, name, value)
