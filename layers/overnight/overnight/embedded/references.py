"""References to secrets, as agent documents write them: `secret:name`, `env:NAME`."""

import re
from collections.abc import Callable, Mapping

from overnight.errors import Invalid, NotFound

__all__ = ["check", "resolved"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_OWN_VARIABLES = "OVERNIGHT_"
_AWS = ("ssm", "secretsmanager")


def resolved(reference: str, secret: Callable[[str], str | None], environ: Mapping[str, str]) -> str:
    """The value behind a reference.

    Args:
        reference: as a document has it.
        secret: finds a secret of the engine's own by its name.
        environ: what `env:NAME` refers to.

    Raises NotFound, which says how to set it.
    """
    scheme, _, name = reference.partition(":")
    if scheme == "secret":
        value = secret(name)
        if value is None:
            raise NotFound(f"there is no secret {name!r}; set it with: overnight secrets set {name}")
        return value
    if scheme == "env":
        return _variable(name, environ)
    if scheme in _AWS:
        raise NotFound(
            f"{reference} is resolved on AWS only; here, keep the value with: overnight secrets set NAME, "
            "and refer to it as secret:NAME"
        )
    raise NotFound(f"{scheme}: refers to nothing; use secret:NAME, and set it with: overnight secrets set NAME")


def check(name: str, value: str) -> None:
    """Raises Invalid where that can't be a secret's name, or its value."""
    if not _NAME.fullmatch(name):
        raise Invalid.field("name", "must be 1 to 64 letters, digits, '_' and '-', a letter or digit first")
    if not value:
        raise Invalid.field("value", "must not be empty")


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if name.startswith(_OWN_VARIABLES):
        raise NotFound(f"env:{name} is Overnight's own and not given to flows; use: overnight secrets set NAME")
    value = environ.get(name)
    if value is None:
        raise NotFound(
            f"the environment variable {name} is not set where Overnight runs; set it there, or keep the value "
            f"with: overnight secrets set {name}, and refer to it as secret:{name}"
        )
    return value
