"""The answers of the AWS Free Tier service, which moto lacks: the account's plan (API reference of 2023-09-07)."""

import json
from typing import TYPE_CHECKING

from moto.core.models import DEFAULT_ACCOUNT_ID
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_TARGET = "AWSFreeTierService.GetAccountPlanState"


def answer(environ: "WSGIEnvironment") -> Response | None:
    """Return the answer to a request for the AWS account's plan, which is always the paid plan.

    Return None for a request to another service.
    """
    if environ.get("HTTP_X_AMZ_TARGET") != _TARGET:
        return None
    plan = {"accountId": DEFAULT_ACCOUNT_ID, "accountPlanType": "PAID", "accountPlanStatus": "ACTIVE"}
    return Response(json.dumps(plan), content_type="application/x-amz-json-1.0")
