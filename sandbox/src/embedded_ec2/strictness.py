"""moto's environment switches; to be set before moto is imported, because it reads some of them only then."""

import os

SETTINGS = {
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
}


def be_strict() -> None:
    os.environ.update(SETTINGS)
