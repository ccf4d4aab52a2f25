"""moto's EC2 lacks placement groups. This patch adds actions to create, describe and delete them."""

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.responses import EC2Response
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, EC2_RESOURCE_TO_PREFIX, generic_filter, random_id

from embedded_ec2.hooks import Hooks

STRATEGIES = ("cluster", "spread", "partition")


class PlacementGroup(TaggedEC2Resource):
    """One placement group. Its attributes have the names of the API's answer, in snake case."""

    def __init__(
        self, backend: EC2Backend, name: str, strategy: str, options: dict[str, Any], tags: dict[str, str]
    ) -> None:
        self.ec2_backend = backend
        self.id = self.group_id = random_id(prefix="pg")
        self.group_name = name
        self.strategy = strategy
        self.state = "available"
        self.partition_count = options.get("PartitionCount")
        self.spread_level = options.get("SpreadLevel") or ("rack" if strategy == "spread" else None)
        self.add_tags(tags)

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        names = {"group-name": "group_name", "state": "state", "strategy": "strategy"}
        if filter_name in names:
            return getattr(self, names[filter_name])
        return super().get_filter_value(filter_name, "DescribePlacementGroups")

    def answer(self) -> dict[str, Any]:
        return {
            "GroupId": self.group_id,
            "GroupName": self.group_name,
            "Strategy": self.strategy,
            "State": self.state,
            "PartitionCount": self.partition_count,
            "SpreadLevel": self.spread_level,
            "Tags": self.get_tags(),
        }


def install(hooks: Hooks) -> None:
    """Add the actions on placement groups to moto: create, describe and delete.

    Also register `pg-…` as the form of an id whose resource can have tags.
    """
    EC2_RESOURCE_TO_PREFIX["placement-group"] = "pg"
    EC2_PREFIX_TO_RESOURCE["pg"] = "placement-group"
    for action in (create_placement_group, describe_placement_groups, delete_placement_group):
        setattr(EC2Response, action.__name__, action)


def _groups(backend: EC2Backend) -> dict[str, PlacementGroup]:
    """Return a dictionary: name → placement group, for one AWS account and region."""
    groups: dict[str, PlacementGroup] = backend.__dict__.setdefault("placement_groups", {})
    return groups


def require(backend: EC2Backend, name: str) -> None:
    """Raise AWS's error when no placement group has this name."""
    if name not in _groups(backend):
        raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")


def create_placement_group(self: EC2Response) -> ActionResult:
    name, strategy = self._get_param("GroupName"), self._get_param("Strategy") or "cluster"
    groups = _groups(self.ec2_backend)
    if name in groups:
        raise EC2ClientError("InvalidPlacementGroup.Duplicate", f"The placement group '{name}' already exists.")
    if strategy not in STRATEGIES:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{strategy}' for placement group strategy.")
    tags = self._parse_tag_specification().get("placement-group", {})
    options = {key: self._get_param(key) for key in ("PartitionCount", "SpreadLevel")}
    self.error_on_dryrun()
    groups[name] = PlacementGroup(self.ec2_backend, name, strategy, options, tags)
    return ActionResult({"PlacementGroup": groups[name].answer()})


def describe_placement_groups(self: EC2Response) -> ActionResult:
    groups = _groups(self.ec2_backend)
    names = self._get_param("GroupNames", [])
    for name in names:
        require(self.ec2_backend, name)
    chosen = [group for name, group in groups.items() if not names or name in names]
    filters = self._filters_from_querystring()
    found = generic_filter(filters, chosen) if filters else chosen
    return ActionResult({"PlacementGroups": [group.answer() for group in found]})


def delete_placement_group(self: EC2Response) -> ActionResult:
    name = self._get_param("GroupName")
    self.error_on_dryrun()
    require(self.ec2_backend, name)
    del _groups(self.ec2_backend)[name]
    return ActionResult({})
