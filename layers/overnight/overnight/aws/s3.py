"""Blobs in an S3 bucket, by their SHA-256."""

import base64
import hashlib
import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from overnight.aws.answers import code_of, unavailable
from overnight.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

__all__ = ["PREFIX", "S3BlobStore"]

PREFIX = "blobs/"
"""What every key begins with."""

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class S3BlobStore:
    """Bytes by their digest; S3 checks what it is given against it."""

    def __init__(self, connect: "Callable[[], S3Client]", bucket: str) -> None:
        self._connect = connect
        self._bucket = bucket

    def put(self, content: bytes) -> str:
        """Keep it, durably; the digest (hex). Raises Unavailable."""
        digest = hashlib.sha256(content)
        with unavailable("S3"):
            self._connect().put_object(
                Bucket=self._bucket,
                Key=_key(digest.hexdigest()),
                Body=content,
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
            )
        return digest.hexdigest()

    def get(self, digest: str) -> bytes:
        """The bytes. Raises NotFound; Unavailable, also when they are not what was kept."""
        if not _DIGEST.fullmatch(digest):
            raise NotFound(f"there is no blob {digest!r}")
        with unavailable("S3"):
            try:
                content = self._connect().get_object(Bucket=self._bucket, Key=_key(digest))["Body"].read()
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    raise NotFound(f"there is no blob {digest!r}") from None
                raise
        if hashlib.sha256(content).hexdigest() != digest:
            raise Unavailable(f"blob {digest} is damaged: s3://{self._bucket}/{_key(digest)} is not what was kept")
        return content


def _key(digest: str) -> str:
    return f"{PREFIX}{digest[:2]}/{digest[2:]}"
