"""Stand in for get-pip.py where only the package registries can be reached: pip comes from Python's own ensurepip."""

import ensurepip

ensurepip.bootstrap()
