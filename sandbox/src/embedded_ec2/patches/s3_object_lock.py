"""moto reports a bucket's object lock both in days and in years, and one of the two numbers is zero.

This patch corrects that.
"""

from moto.s3.models import S3Backend

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Return the period of a bucket's object lock only in days or only in years, as AWS does.

    With moto's answer each run of a module would set the lock again.
    """
    original = S3Backend.get_object_lock_configuration

    def get_object_lock_configuration(
        self: S3Backend, bucket_name: str
    ) -> tuple[bool, str | None, int | None, int | None]:
        enabled, mode, days, years = original(self, bucket_name)
        return enabled, mode, days or None, years or None

    replace(S3Backend, "get_object_lock_configuration", get_object_lock_configuration)
