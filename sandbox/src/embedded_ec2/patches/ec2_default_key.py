"""GetEbsDefaultKmsKeyId, which moto's EC2 lacks; it only has ModifyEbsDefaultKmsKeyId (EC2 API reference)."""

from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.responses import EC2Response
from moto.kms.models import kms_backends

from embedded_ec2.hooks import Hooks

_OF_AWS = "alias/aws/ebs"


def install(hooks: Hooks) -> None:
    """Return the alias, as AWS does, until the account chooses its own key."""
    setattr(EC2Response, get_ebs_default_kms_key_id.__name__, get_ebs_default_kms_key_id)


def get_ebs_default_kms_key_id(self: EC2Response) -> ActionResult:
    return ActionResult({"KmsKeyId": _key(self.ec2_backend)})


def _key(backend: EC2Backend) -> str:
    chosen = str(backend.default_kms_key_id)
    keys = kms_backends[backend.account_id][backend.region_name]
    # moto also notes AWS's own key there, once it has encrypted the first volume.
    of_aws = keys.alias_exists(_OF_AWS) and keys.describe_key(_OF_AWS).arn == chosen
    return _OF_AWS if of_aws or not chosen else chosen
