"""Modules run against botocore's Stubber, for services that the embedded EC2 does not have.

Botocore itself checks requests and answers against the service's model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from botocore.stub import Stubber


@contextmanager
def stubbed(monkeypatch: pytest.MonkeyPatch, *services: str) -> Iterator[dict[str, Stubber]]:
    """Give every AWS module a stubbed client of each service; every expected request must be made."""
    stubs = {
        service: Stubber(
            boto3.client(service, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        )
        for service in services
    }
    monkeypatch.setattr(AnsibleAWSModule, "client", lambda _self, service, *_args, **_kwargs: stubs[service].client)
    for stub in stubs.values():
        stub.activate()
    yield stubs
    for stub in stubs.values():
        stub.assert_no_pending_responses()
