"""An embedded EC2: moto answers AWS's API, and each running instance has a local machine with systemd.

A machine is a systemd container, or an emulated machine with a kernel of its own. "This computer" always means the
computer that runs the sandbox.
"""
