"""Blobs in an S3 bucket: those of an execution under its id, what many may refer to by its SHA-256 alone.

    executions/<execution>/<digest>   named `<execution>/<digest>`
    flows/<digest>                    named `<digest>`

The bucket keeps versions, for the sake of the sweep alone: it removes the very versions that it has looked at, so what
somebody puts again in that moment stays.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from overnight.aws.answers import code_of, unavailable
from overnight.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["EXECUTIONS", "FLOWS", "PAGE", "S3BlobStore", "Swept"]

EXECUTIONS, FLOWS = "executions/", "flows/"
"""What keys begin with."""

PAGE = 500
"""How many versions of blobs one step of the sweep looks at."""

_NAME = re.compile(r"([0-9a-f]{32}/)?[0-9a-f]{64}", re.ASCII)

Used = Callable[[Sequence[str]], Collection[str]]
"""Which of these blobs anybody needs."""


@dataclass(frozen=True, slots=True)
class Swept:
    """A step of the sweep: how many blobs went, and the key after which the next step begins; None at the end."""

    removed: int
    after: str | None


class S3BlobStore:
    """Bytes by their digest; S3 checks what it is given against it."""

    def __init__(self, connect: "Callable[[], S3Client]", bucket: str) -> None:
        self._connect = connect
        self._bucket = bucket

    def put(self, content: bytes, owner: str | None = None) -> str:
        """Keep it, durably; its name. Raises Unavailable."""
        digest = hashlib.sha256(content)
        name = f"{owner}/{digest.hexdigest()}" if owner else digest.hexdigest()
        with unavailable("S3"):
            self._connect().put_object(
                Bucket=self._bucket,
                Key=_key(name),
                Body=content,
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
            )
        return name

    def get(self, name: str) -> bytes:
        """The bytes. Raises NotFound; Unavailable, also when they are not what was kept."""
        if not _NAME.fullmatch(name):
            raise NotFound(f"there is no blob {name!r}")
        with unavailable("S3"):
            try:
                content = self._connect().get_object(Bucket=self._bucket, Key=_key(name))["Body"].read()
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    raise NotFound(f"there is no blob {name!r}") from None
                raise
        if hashlib.sha256(content).hexdigest() != name[-64:]:
            raise Unavailable(f"blob {name} is damaged: s3://{self._bucket}/{_key(name)} is not what was kept")
        return content

    def sweep(self, before: datetime, used: Used, after: str = "") -> Swept:
        """Remove what nobody needs, and was put before that time, of the first blobs after that key.

        Raises Unavailable.
        """
        with unavailable("S3"):
            begin: Any = {"KeyMarker": after} if after else {}
            page = self._connect().list_object_versions(Bucket=self._bucket, MaxKeys=PAGE, **begin)
            old = [one for one in page.get("Versions", []) if one["LastModified"] < before]
            names = {_name(one["Key"]) for one in old} - {None}
            unused = names - set(used(sorted(filter(None, names))))
            going: Any = [
                {"Key": one["Key"], "VersionId": one["VersionId"]} for one in old if _name(one["Key"]) in unused
            ]
            if going:
                answer = self._connect().delete_objects(Bucket=self._bucket, Delete={"Objects": going, "Quiet": True})
                if errors := answer.get("Errors"):
                    raise Unavailable(f"S3: {errors[0].get('Code')}: {errors[0].get('Key')} can't be removed")
        return Swept(len(unused), page["NextKeyMarker"] if page["IsTruncated"] else None)


def _key(name: str) -> str:
    return f"{EXECUTIONS if '/' in name else FLOWS}{name}"


def _name(key: str) -> str | None:
    """The name of the blob with that key; None where it is none of ours."""
    name = key.removeprefix(EXECUTIONS if key.startswith(EXECUTIONS) else FLOWS)
    return name if _NAME.fullmatch(name) and _key(name) == key else None
