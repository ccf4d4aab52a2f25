"""An exception that AWS causes becomes a message of one line.

The message names the problem, its place, and what the user can do.
"""

from __future__ import annotations

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, deployment
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError


def client_error(code: str) -> ClientError:
    """Return the exception that botocore raises when AWS answers with this error code."""
    return ClientError({"Error": {"Code": code, "Message": "what AWS says"}}, "DescribeVpcs")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (client_error("ExpiredToken"), ["what AWS says (ExpiredToken)", "log in again"]),
        (client_error("RequestExpired"), ["clock"]),
        (client_error("RequestTimeTooSkewed"), ["clock"]),
        (client_error("InvalidSignatureException"), ["clock"]),
        (client_error("UnauthorizedOperation"), ["lack this permission"]),
        (client_error("VcpuLimitExceeded"), ["L-1216C47A"]),
        (client_error("Other"), ["what AWS says (Other)"]),
        (NoCredentialsError(), ["no AWS credentials were found", "AWS_PROFILE"]),
        (EndpointConnectionError(endpoint_url="http://nowhere"), ["http://nowhere", "AWS_ENDPOINT_URL"]),
    ],
)
def test_the_line_says_what_where_and_what_to_do(error: Exception, words: list[str]) -> None:
    line = aws.explain(error, "list the VPCs", "eu-west-1")
    assert line.startswith("Cannot list the VPCs in region eu-west-1: ")
    assert "\n" not in line
    for word in words:
        assert word in line


def test_an_error_of_ours_is_not_explained_away() -> None:
    with pytest.raises(KeyError):
        aws.explain(KeyError("bug"), "list the VPCs", None)


def test_missing_is_what_is_wanted_by_kind_and_name_and_not_there() -> None:
    present = [
        {"kind": "vpc", "id": "vpc-1", "name": "a", "state": ""},
        {"kind": "subnet", "id": "s", "name": "b", "state": ""},
    ]
    assert deployment.missing({"vpc": ["a", "b"], "subnet": ["b"]}, present) == [{"kind": "vpc", "name": "b"}]


def test_tags_are_listed_as_the_api_has_them_in_one_order() -> None:
    assert aws.as_tag_list({"Project": "x", "Environment": "demo"}) == [
        {"Key": "Environment", "Value": "demo"},
        {"Key": "Project", "Value": "x"},
    ]
    assert aws.as_tag_list({}) == []
