"""moto's EC2 accepts keys of tags that AWS refuses when tags are in the instance's metadata.

This patch corrects that.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.responses.instances import InstanceResponse

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

# The allowed keys: EC2 user guide, "View tags for your EC2 instances using instance metadata".
_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
_RESERVED = (".", "..", "_index")


def install(hooks: Hooks) -> None:
    """Refuse tag keys that AWS does not allow in the instance metadata.

    They are refused at a launch with tags in the metadata, and for an instance that has tags in its metadata.
    """
    run: Callable[..., ActionResult] = InstanceResponse.run_instances
    tag: Callable[..., bool] = EC2Backend.create_tags

    def run_instances(self: InstanceResponse) -> ActionResult:
        if self._get_param("MetadataOptions", {}).get("InstanceMetadataTags") == "enabled":
            _require_keys(self._parse_tag_specification().get("instance", {}))
        return run(self)

    def create_tags(self: EC2Backend, resource_ids: list[str], tags: dict[str, str]) -> bool:
        for instance in self.all_instances():
            options: Any = instance.metadata_options
            if instance.id in resource_ids and options.instance_metadata_tags == "enabled":
                _require_keys(tags)
        return tag(self, resource_ids, tags)

    replace(InstanceResponse, "run_instances", run_instances)
    replace(EC2Backend, "create_tags", create_tags)


def _require_keys(keys: Iterable[str]) -> None:
    for key in keys:
        if key in _RESERVED or not _KEY.fullmatch(key):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), "
                "and must not be a reserved name ('.', '..', '_index')",
            )
