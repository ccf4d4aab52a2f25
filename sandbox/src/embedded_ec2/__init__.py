"""An embedded EC2: moto answers the API, and a local systemd machine stands for every running instance."""
