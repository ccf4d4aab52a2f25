"""An embedded EC2: moto answers the API, and each running instance is a local systemd machine."""
