"""moto's EC2 lacks GetEbsDefaultKmsKeyId; it only has ModifyEbsDefaultKmsKeyId (EC2 API reference).

This patch corrects that.
"""

from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.responses import EC2Response
from moto.kms.models import kms_backends

from embedded_ec2.hooks import Hooks

_OF_AWS = "alias/aws/ebs"


def install(hooks: Hooks) -> None:
    """Add GetEbsDefaultKmsKeyId. It returns the alias of AWS's own key until the account chooses another key."""
    setattr(EC2Response, get_ebs_default_kms_key_id.__name__, get_ebs_default_kms_key_id)


def get_ebs_default_kms_key_id(self: EC2Response) -> ActionResult:
    return ActionResult({"KmsKeyId": _key(self.ec2_backend)})


def _key(backend: EC2Backend) -> str:
    chosen = str(backend.default_kms_key_id)
    keys = kms_backends[backend.account_id][backend.region_name]
    # After the first encrypted volume moto stores AWS's own key as the default key, so compare with that key.
    of_aws = keys.alias_exists(_OF_AWS) and keys.describe_key(_OF_AWS).arn == chosen
    return _OF_AWS if of_aws or not chosen else chosen
