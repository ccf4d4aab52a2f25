"""The uploads to the S3 bucket of the host's environment.

Each object is uploaded once and in a single request. The bucket's policy allows a host neither to replace an object nor
to upload one in parts.
"""

import base64
from typing import Any, BinaryIO

from trading_engine.settings.tables import ConfigError

from trading_backup.config import Config

THERE_ALREADY = ("PreconditionFailed", "412")


class BucketError(Exception):
    """The bucket cannot be reached, or refuses the request. The message says why."""


class Bucket:
    """The S3 bucket of the host's environment, and the host's identity at AWS.

    The bucket's name may contain the id of the AWS account. So name and identity are known only after AWS has been
    asked for the caller's identity.
    """

    def __init__(self, config: Config) -> None:
        """Create the clients of S3 and STS. Raises ConfigError when boto3 is missing or an address is invalid."""
        try:
            import boto3
            from botocore.config import Config as BotoConfig
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise ConfigError("the backup needs boto3: install trading-engine[cloudwatch]") from error
        self._errors = (BotoCoreError, ClientError, OSError)
        # boto3 makes only one retry. The shipper retries as well, and it reports the waiting data in the meantime.
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
        """Return AWS's id of the caller, which is `role id:instance id` on EC2.

        AWS is asked only once. Raises BucketError when AWS does not answer.
        """
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
        """Upload `body` as a new object with the name `key`. `digest` is the SHA-256 of `body` in hexadecimal.

        It is no error if an object of this name exists. The name contains the digest, so the content is the same: this
        host uploaded it before, and ended before it could record that. Raises BucketError when the upload fails.
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
