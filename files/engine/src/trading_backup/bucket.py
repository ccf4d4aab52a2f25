"""Uploads to the bucket: each object once and in one request, because the bucket's policy allows a host no more."""

import base64
from typing import Any, BinaryIO

from trading_engine.settings.tables import ConfigError

from trading_backup.config import Config

THERE_ALREADY = ("PreconditionFailed", "412")


class BucketError(Exception):
    """The bucket cannot be reached, or refuses the request; the message says which."""


class Bucket:
    """The environment's bucket and this host's identity there. Both are known once AWS has identified the caller."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError when boto3 is missing, or an address is invalid."""
        try:
            import boto3
            from botocore.config import Config as BotoConfig
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise ConfigError("the backup needs boto3: install trading-engine[cloudwatch]") from error
        self._errors = (BotoCoreError, ClientError, OSError)
        # boto3 retries little: the shipper retries by itself and reports meanwhile what waits.
        options = BotoConfig(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 2})
        named = {"region_name": config.region, "endpoint_url": config.endpoint or None, "config": options}
        try:
            self._s3: Any = boto3.client("s3", **named)
            self._sts: Any = boto3.client("sts", **named)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"[backup] {error}") from error
        self._pattern = config.bucket.replace("{region}", config.region)
        self._name = ""
        self._account = ""
        self._user_id = ""
        self.objects = 0

    def user_id(self) -> str:
        """Return the id of the session, `role id:instance id` on EC2; raises BucketError."""
        if not self._user_id:
            try:
                found = self._sts.get_caller_identity()
            except self._errors as error:
                raise BucketError(f"cannot ask AWS who this host is: {error}") from error
            self._account = found["Account"]
            self._name = self._pattern.replace("{account}", self._account)
            self._user_id = found["UserId"]
        return self._user_id

    def put(self, key: str, body: bytes | BinaryIO, digest: str) -> None:
        """Put a new object with its SHA-256; raises BucketError.

        If the object exists, this host put it and ended before it could record the upload: the name contains the digest
        of the content.
        """
        self.user_id()
        checksum = base64.b64encode(bytes.fromhex(digest)).decode("ascii")
        try:
            self._s3.put_object(
                Bucket=self._name,
                Key=key,
                Body=body,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
                ExpectedBucketOwner=self._account,
            )
        except self._errors as error:
            if _code(error) not in THERE_ALREADY:
                raise BucketError(f"{self._name} takes no {key.rpartition('/')[2][:40]}: {error}") from error
        self.objects += 1


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
