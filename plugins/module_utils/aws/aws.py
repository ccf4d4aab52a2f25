# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that the AWS modules share: a client with retries, the change of one resource, and readable API errors.

botocore is imported inside functions, because ansible-doc and the sanity tests load this file without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

PROJECT = "lowlatency-trading"
# The parameter `state` of modules that create or delete one named resource.
STATE = {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}
# These are botocore's own retries. The AWSRetry of amazon.aws does not work with paginators, and needs aws_retry=True
# in every call. In the mode `adaptive` each retry waits longer, and the client sends less while AWS throttles it.
# An unreachable endpoint is retried as often, so more attempts would keep the user of a wrong endpoint waiting.
RETRIES = {"mode": "adaptive", "total_max_attempts": 6}
# The error codes with which EC2 and other services answer when a permission is missing.
NOT_ALLOWED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")

_CREDENTIALS = "give credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) and try again"
_ADVICE_BY_CODE = {
    "ExpiredToken": "the credentials have expired: log in again (for example `aws sso login`)",
    "ExpiredTokenException": "the credentials have expired: log in again (for example `aws sso login`)",
    "RequestExpired": "the credentials have expired, or this machine's clock is wrong: log in again, check `date`",
    "InvalidClientTokenId": "AWS does not know this access key: check AWS_PROFILE or AWS_ACCESS_KEY_ID",
    "AuthFailure": "AWS refused the credentials: check AWS_SECRET_ACCESS_KEY and this machine's clock",
    "InvalidSignatureException": "AWS refused the credentials: check AWS_SECRET_ACCESS_KEY and this machine's clock",
    "RequestTimeTooSkewed": "this machine's clock is wrong: check `date`",
    "SignatureDoesNotMatch": "AWS refused the credentials: check AWS_SECRET_ACCESS_KEY and this machine's clock",
    **dict.fromkeys(NOT_ALLOWED, "the credentials lack this permission: see files/iam and docs/aws.md"),
    "OptInRequired": "the account is not enabled for this region: choose another trading_region",
    "VcpuLimitExceeded": "ask for a higher quota L-1216C47A (Service Quotas), or choose a smaller instance type",
}


def explain(error: Exception, doing: str, region: str | None) -> str:
    """Return one line about an AWS error: what failed and where, the answer of AWS, and what to do.

    Raises the error again when it is not from botocore. ``doing`` completes "Cannot …", for example "read the dashboard
    trading-production".
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        EndpointConnectionError,
        NoCredentialsError,
        PartialCredentialsError,
        ReadTimeoutError,
    )

    where = f"in region {region}" if region else "in the default region"
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        said = error.response.get("Error", {}).get("Message", "") or str(error)
        advice = _ADVICE_BY_CODE.get(code)
        return f"Cannot {doing} {where}: {said} ({code})" + (f"; {advice}" if advice else "")
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return f"Cannot {doing} {where}: no AWS credentials were found; {_CREDENTIALS}"
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError)):
        return f"Cannot {doing} {where}: {error}; check trading_region, AWS_ENDPOINT_URL and the network, and try again"
    if isinstance(error, BotoCoreError):
        return f"Cannot {doing} {where}: {error}"
    raise error


@contextmanager
def explained(module: Any, doing: str) -> Iterator[None]:
    """Context manager that ends the module with an explanation when its block raises an AWS error.

    Other errors are raised unchanged. ``doing`` completes "Cannot …" in the explanation.
    """
    try:
        yield
    except Exception as error:
        module.fail_json(msg=explain(error, doing, module.region))


def client(module: Any, service: str, **parameters: Any) -> Any:
    """Return a boto3 client of ``service``. Its calls and paginators retry when AWS throttles them.

    ``parameters`` are passed to boto3. A ``config`` among them replaces the default configuration.
    """
    with explained(module, f"reach the {service} API"):
        return module.client(service, **{"config": {"retries": RETRIES}, **parameters})


class Outcome(NamedTuple):
    """The result of `converge`: the resource before the change, whether it had to change, and the answer to the change.

    The answer is None if nothing was changed.
    """

    current: Any
    changed: bool
    answer: Any


def converge(
    module: Any,
    what: str,
    read: Callable[[], Any],
    wanted: Any,
    same: Callable[[Any, Any], bool],
    change: Callable[[Any], Any],
) -> Outcome:
    """Change one resource to its wanted state. In check mode the resource is only read.

    ``read`` returns the current resource, and ``wanted`` is the wanted one; None means "does not exist" for both.
    ``same`` compares the two. ``change`` gets the current resource and changes it. ``what`` completes "Cannot read …".
    """
    with explained(module, f"read {what}"):
        current = read()
    changed = current is not wanted and (current is None or wanted is None or not same(current, wanted))
    answer = None
    if changed and not module.check_mode:
        with explained(module, f"change {what}"):
            answer = change(current)
    return Outcome(current, changed, answer)


def report(module: Any, changed: bool, before: Any, after: Any, **facts: Any) -> None:
    """End the module with ``facts`` as its result. In diff mode also report how ``before`` and ``after`` differ."""
    difference = {"diff": {"before": before, "after": after}} if module._diff else {}
    module.exit_json(changed=changed, **facts, **difference)


def as_tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return ``tags`` in the API's form: a list of dictionaries with Key and Value, sorted by key."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def holds(current: Any, wanted: Any) -> bool:
    """Return whether ``current`` contains everything in ``wanted``. Both are structures of an API.

    Other keys of ``current`` are ignored, because services also return default values. Lists of tags are compared
    regardless of their order.
    """
    current, wanted = _sorted_tags(current), _sorted_tags(wanted)
    if isinstance(wanted, dict):
        return isinstance(current, dict) and all(
            key in current and holds(current[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(current, list) and len(current) == len(wanted) and all(map(holds, current, wanted))
    return bool(current == wanted)


def _sorted_tags(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, dict) and "Key" in item for item in value):
        return sorted(value, key=lambda tag: (tag["Key"], tag["Value"]))
    return value
