"""Runs modules with botocore's Stubber, because the emulator lacks some AWS services.

Botocore checks the requests and the answers with its model of the service.
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
    """Give all AWS modules a stubbed client for each of these services, and yield the stubs by service.

    At the end, every expected request must have been made.
    """
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
