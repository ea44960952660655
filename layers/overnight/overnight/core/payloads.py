"""Values that may be large: small ones stay in the record, larger ones go to the blob store by their digest."""

import json

from pydantic import JsonValue

from overnight.executions import Held
from overnight.ports import BlobStore

__all__ = ["INLINE_BYTES", "encoded", "hold", "opened"]

INLINE_BYTES = 1_024
"""What a record holds itself; it keeps an execution's row under 4 KB with all that may be in it."""

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def encoded(value: JsonValue) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8."""
    return _JSON.encode(value).encode("utf-8", "surrogatepass")


def hold(blobs: BlobStore, value: JsonValue, owner: str) -> Held | None:
    """Hold a value for an execution, durably; None for None."""
    if value is None:
        return None
    content = encoded(value)
    if len(content) <= INLINE_BYTES:
        return Held(value=value, size_bytes=len(content))
    return Held(blob=blobs.put(content, owner), size_bytes=len(content))


def opened(blobs: BlobStore, held: Held | None) -> JsonValue:
    """The value again. Raises NotFound when its blob is gone."""
    if held is None:
        return None
    if held.blob is None:
        return held.value
    value: JsonValue = json.loads(blobs.get(held.blob))
    return value
