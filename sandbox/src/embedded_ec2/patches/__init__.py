"""Corrections of moto's visible differences from AWS.

Each file is named `<service>_<thing>.py`. Its docstring describes the difference, and its `install(hooks)` replaces
functions of moto to correct it.
"""

import importlib
import pkgutil

from embedded_ec2.hooks import Hooks


def install(hooks: Hooks) -> None:
    """Install every patch in this process. A second call changes nothing more."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}").install(hooks)


def replace(owner: object, name: str, value: object) -> None:
    """Replace a function or class attribute of moto. Raises AttributeError when moto no longer has that name."""
    getattr(owner, name)
    setattr(owner, name, value)
