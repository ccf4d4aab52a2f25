import sys

from embedded_ec2.cli import main

sys.exit(main())
