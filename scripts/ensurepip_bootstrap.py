"""Replace get-pip.py where only the package registries are reachable: install pip from Python's own ensurepip."""

import ensurepip

ensurepip.bootstrap()
