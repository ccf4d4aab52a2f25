"""Derives the permissions that an API call needs. Each of them is a `Need`.

A need has three parts: an action that must be allowed, a resource, and the request's values for conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from tests.iam import reference, renamed
from tests.iam.decode import Call
from tests.iam.evaluate import Need

_ID = re.compile(rf"({'|'.join(sorted(renamed.EC2_KINDS, key=len, reverse=True))})-[0-9a-f]{{8,}}")


class Account(Protocol):
    """The content of the AWS account at the moment of a call. The permissions that a call needs depend on it."""

    number: str

    def ec2_tags(self, identity: str) -> Mapping[str, str]:
        """Return the tags of a resource in EC2. They are empty when the resource does not exist."""

    def ec2_parts(self, name: str) -> list[str]:
        """Return the ids of the EC2 resources that belong to the resource `name`.

        `name` is the name of a launch template, a public address, or the id of an association.
        """

    def identity(self, kind: str, name: str) -> str:
        """Return the id of the key pair or placement group with this name.

        When there is none, return the name itself.
        """

    def iam_path(self, kind: str, name: str) -> str:
        """Return the IAM path of the role or instance profile with this name."""

    def template(self, identity: str) -> Mapping[str, Any]:
        """Return the content of the newest version of a launch template."""

    def role_of(self, profile: str) -> str:
        """Return the ARN of the role that an instance profile contains."""


def needs(call: Call, account: Account) -> Iterator[Need]:
    """Yield every permission that a call needs."""
    prefix = renamed.SERVICES.get(call.service, call.service)
    action = f"{prefix}:{call.operation}"
    if action in renamed.FREE:
        return
    by_service = _BY_SERVICE.get(call.service, _by_name)
    yield from by_service(action, call, account)


# --- EC2 -------------------------------------------------------------------------------------------------------------
def _ec2(action: str, call: Call, account: Account) -> Iterator[Need]:
    kinds = reference.kinds(action)
    given = {one["ResourceType"]: _tags(one) for one in call.parameters.get("TagSpecifications", [])}
    found = dict(_named(call, account))
    for name, kind in found.items():
        if kind in kinds:
            tags = account.ec2_tags(account.identity(kind, name)) if kinds[kind].by_tag else {}
            context = _context("aws:ResourceTag/", tags)
            if call.operation in ("CreateTags", "DeleteTags"):
                context |= _context("aws:RequestTag/", _tags(call.parameters))
            yield Need(action, reference.ec2_arn(kind, name, call.region, account.number), context)
    new = [kind.name for kind in kinds.values() if kind.by_request_tag and kind.required]
    made = [name for name in new if name not in found.values()]
    for name in dict.fromkeys([*made, *(renamed.LAUNCHED if call.operation == "RunInstances" else ()), *given]):
        identity = _name_of(name, call.parameters)
        arn = reference.ec2_arn(name, identity, call.region, account.number)
        if name in kinds:
            yield Need(action, arn, _context("aws:RequestTag/", given.get(name, {})))
        if name in given:
            context = {**_context("aws:RequestTag/", given[name]), "ec2:CreateAction": call.operation}
            yield Need("ec2:CreateTags", arn, context)
    if not kinds:
        yield Need(action, "*")
    yield from _ec2_beside(action, call, account)


def _named(call: Call, account: Account) -> Iterator[tuple[str, str]]:
    """Yield the name and the kind of each existing resource that the call's parameters name.

    A name that the call gives to a new resource is left out.
    """
    for key, value in _words(call.parameters):
        if found := _ID.fullmatch(value):
            yield value, renamed.EC2_KINDS[found[1]]
        elif key == "KeyName" and call.operation != "ImportKeyPair":
            yield value, "key-pair"
        elif key == "GroupName" and call.operation in ("DeletePlacementGroup", "RunInstances"):
            yield value, "placement-group"
        elif key in ("LaunchTemplateName", "AssociationId", "PublicIp") and call.operation not in renamed.MAKES_A_NAME:
            for identity in account.ec2_parts(value):
                found = _ID.fullmatch(identity)
                assert found, f"{identity} is no id of a known kind"
                yield identity, renamed.EC2_KINDS[found[1]]


def _words(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in ("Filters", "TagSpecifications", "Tags"):
                yield from _words(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner, key)
    elif isinstance(value, str):
        yield key, value


def _name_of(kind: str, parameters: Mapping[str, Any]) -> str:
    names = {"key-pair": "KeyName", "placement-group": "GroupName"}
    return str(parameters[names[kind]]) if kind in names else "*"


def _ec2_beside(action: str, call: Call, account: Account) -> Iterator[Need]:
    profile = call.parameters.get("IamInstanceProfile") or {}
    if profile:
        yield _pass(action, account.role_of(profile.get("Name") or profile["Arn"].rpartition("/")[2]))
    if "DeliverLogsPermissionArn" in call.parameters:
        yield _pass(action, call.parameters["DeliverLogsPermissionArn"])
    if call.operation == "RunInstances" and "LaunchTemplate" in call.parameters:  # our templates ask for Spot
        yield _linked(account, *renamed.SPOT)


# --- IAM -------------------------------------------------------------------------------------------------------------
def _iam(action: str, call: Call, account: Account) -> Iterator[Need]:
    asked = call.parameters
    kinds = reference.kinds(action)
    context = {"iam:PolicyARN": asked["PolicyArn"]} if "PolicyArn" in asked and "role" in kinds else {}
    head = f"arn:aws:iam::{account.number}:"
    if not kinds:
        resource = "*"
    elif "policy" in kinds:
        resource = asked.get("PolicyArn") or f"{head}policy{asked.get('Path', '/')}{asked['PolicyName']}"
    else:
        (kind,) = kinds
        name = asked.get("InstanceProfileName" if kind == "instance-profile" else "RoleName", "*")  # a list has no name
        made = asked.get("Path", "/") if call.operation.startswith("Create") else account.iam_path(kind, name)
        resource = f"{head}{kind}{made}{name}"
    yield Need(action, resource, context)
    if asked.get("Tags") and action in renamed.TAGGING:
        yield Need(renamed.TAGGING[action], resource, _context("aws:RequestTag/", _tags(asked)))
    if call.operation == "AddRoleToInstanceProfile":
        yield _pass(action, f"{head}role{account.iam_path('role', asked['RoleName'])}{asked['RoleName']}")


def _pass(action: str, role: str) -> Need:
    return Need("iam:PassRole", role, {"iam:PassedToService": renamed.PASSES[action]})


def _linked(account: Account, service: str, role: str) -> Need:
    resource = f"arn:aws:iam::{account.number}:role/aws-service-role/{service}/{role}"
    return Need("iam:CreateServiceLinkedRole", resource, {"iam:AWSServiceName": service})


# --- groups and their balancers --------------------------------------------------------------------------------------
def _autoscaling(action: str, call: Call, account: Account) -> Iterator[Need]:
    asked = call.parameters
    name = asked.get("AutoScalingGroupName") or next((one["ResourceId"] for one in asked.get("Tags", [])), "")
    if not reference.kinds(action):
        yield Need(action, "*")
        return
    arn = f"arn:aws:autoscaling:{call.region}:{account.number}:autoScalingGroup:*:autoScalingGroupName/{name}"
    yield Need(action, arn)
    if call.operation == "CreateAutoScalingGroup":
        # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
        yield from _launched(account, asked["LaunchTemplate"]["LaunchTemplateName"], call.region)
        yield _linked(account, *renamed.SCALES)


def _launched(account: Account, template: str, region: str) -> Iterator[Need]:
    """Yield the additional needs of a call that creates an Auto Scaling group.

    AWS checks that the caller may launch the instances that the group's launch template describes.
    """
    for identity in account.ec2_parts(template):
        context = _context("aws:ResourceTag/", account.ec2_tags(identity))
        yield Need("ec2:RunInstances", reference.ec2_arn("launch-template", identity, region, account.number), context)
        data = account.template(identity)
        given = {one["ResourceType"]: _tags(one) for one in data["TagSpecifications"]}
        for kind in ("instance", "volume"):
            arn = reference.ec2_arn(kind, "*", region, account.number)
            yield Need("ec2:RunInstances", arn, _context("aws:RequestTag/", given[kind]))
            tagged = {**_context("aws:RequestTag/", given[kind]), "ec2:CreateAction": "RunInstances"}
            yield Need("ec2:CreateTags", arn, tagged)
        yield _pass("ec2:RunInstances", account.role_of(data["IamInstanceProfile"]["Name"]))


def _balancing(action: str, call: Call, account: Account) -> Iterator[Need]:
    asked, head = call.parameters, f"arn:aws:elasticloadbalancing:{call.region}:{account.number}:"
    if not reference.kinds(action):
        yield Need(action, "*")
        return
    kind = "targetgroup/" if call.operation == "CreateTargetGroup" else "loadbalancer/net/"
    arns = asked.get("ResourceArns") or [
        asked.get("ListenerArn")
        or asked.get("LoadBalancerArn")
        or asked.get("TargetGroupArn")
        or f"{head}{kind}{asked['Name']}/*"
    ]
    yield from (Need(action, arn) for arn in arns)
    if asked.get("Tags") and call.operation.startswith("Create"):
        yield Need("elasticloadbalancing:AddTags", arns[0])
    if call.operation == "CreateLoadBalancer":
        yield _linked(account, *renamed.BALANCES)


# --- other services, whose parameters contain their resources' names -------------------------------------------------
def _s3(action: str, call: Call, account: Account) -> Iterator[Need]:
    asked = call.parameters
    bucket = f"arn:aws:s3:::{asked['Bucket']}" if "Bucket" in asked else "*"
    if call.operation == "DeleteObjects":
        action = "s3:DeleteObjectVersion" if asked["Versions"] else "s3:DeleteObject"
        yield from (Need(action, f"{bucket}/{key}") for key in asked["Keys"])
    else:
        name = f"s3:{renamed.S3.get(call.operation, call.operation)}"
        yield Need(name, f"{bucket}/{asked['Key']}" if "Key" in asked else bucket)


def _budgets(action: str, call: Call, account: Account) -> Iterator[Need]:
    budget = call.parameters.get("BudgetName") or call.parameters.get("Budget", call.parameters.get("NewBudget"))
    name = budget if isinstance(budget, str) else budget["BudgetName"]
    looks = call.operation.startswith(renamed.BUDGETS_LOOK)
    permission = "budgets:ViewBudget" if looks else "budgets:ModifyBudget"
    yield Need(permission, f"arn:aws:budgets::{account.number}:budget/{name}")


def _by_name(action: str, call: Call, account: Account) -> Iterator[Need]:
    asked = call.parameters
    arns = list(_arns(call, account)) if reference.kinds(action) and action not in renamed.ALL_ONLY else ["*"]
    for arn in arns:
        yield Need(action, arn)
        if (asked.get("Tags") or asked.get("tags")) and action in renamed.TAGGING:
            alarm = f"arn:aws:cloudwatch:{call.region}:{account.number}:alarm:{asked.get('AlarmName')}"
            yield Need(renamed.TAGGING[action], alarm if arn == "*" else arn)
    if any(":automate:" in one for one in asked.get("AlarmActions", [])):
        yield _linked(account, *renamed.RECOVERS)
    role = asked.get("Target", {}).get("RoleArn") if isinstance(asked.get("Target"), Mapping) else None
    if role:
        yield _pass(action, role)


_BY_SERVICE = {
    "autoscaling": _autoscaling,
    "budgets": _budgets,
    "ec2": _ec2,
    "elbv2": _balancing,
    "iam": _iam,
    "s3": _s3,
}


def _arns(call: Call, account: Account) -> Iterator[str]:
    asked, number, region = call.parameters, account.number, call.region
    if call.service == "cloudwatch":
        alarms = [*asked.get("AlarmNames", []), *([asked["AlarmName"]] if "AlarmName" in asked else [])]
        yield from (f"arn:aws:cloudwatch:{region}:{number}:alarm:{name}" for name in alarms)
        boards = [*asked.get("DashboardNames", []), *([asked["DashboardName"]] if "DashboardName" in asked else [])]
        yield from (f"arn:aws:cloudwatch::{number}:dashboard/{name}" for name in boards)
        if "ResourceARN" in asked:
            yield asked["ResourceARN"]
        if call.operation == "DescribeAlarms":  # only who may describe all alarms sees composite ones
            yield "*"
    elif call.service == "sns":
        topic = asked.get("TopicArn") or asked.get("ResourceArn")
        yield topic or f"arn:aws:sns:{region}:{number}:{asked['Name']}"
    elif call.service == "logs":
        named = asked.get("resourceArn") or f"arn:aws:logs:{region}:{number}:log-group:{asked['logGroupName']}"
        yield named
    elif call.service == "ssm":
        owner = "" if asked["Name"].startswith("/aws/") else number  # a public parameter has no owner
        yield f"arn:aws:ssm:{region}:{owner}:parameter{asked['Name']}"
    elif call.service == "scheduler":
        yield f"arn:aws:scheduler:{region}:{number}:schedule/{asked.get('GroupName', 'default')}/{asked['Name']}"
    elif call.service == "cloudformation":
        name = asked["StackName"].rpartition(":stack/")[2].partition("/")[0]  # StackName is an ARN or a name
        yield f"arn:aws:cloudformation:{region}:{number}:stack/{name}/*"
    elif call.service == "service-quotas":
        yield f"arn:aws:servicequotas:{region}:{number}:{asked['ServiceCode']}/{asked['QuotaCode']}"
    else:
        raise LookupError(f"{call.service}:{call.operation}: say in tests/iam/needs.py which resource this is about")


def _tags(one: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in one.get("Tags", [])}


def _context(head: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{head}{key}": value for key, value in tags.items()}
