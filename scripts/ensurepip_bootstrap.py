"""Install pip from Python's own ensurepip. scripts/lint uses this in place of get-pip.py, which needs the web."""

import ensurepip

ensurepip.bootstrap()
