"""The page to try the API: one file, which reads /openapi.json and needs no network besides this server."""

import base64
import hashlib
import re
from importlib.resources import files

__all__ = ["DOCS_HEADERS", "DOCS_PAGE"]

DOCS_PAGE = files("overnight.embedded").joinpath("http_docs.html").read_bytes()


def _hash(element: str) -> str:
    """The Content-Security-Policy source of an inline script or style."""
    found = re.search(rf"<{element}>(.*?)</{element}>".encode(), DOCS_PAGE, re.DOTALL)
    digest = hashlib.sha256(found[1] if found else b"").digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hash('script')}",
        f"style-src {_hash('style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
DOCS_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
)
