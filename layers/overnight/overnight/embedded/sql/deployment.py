"""What all engines on one database must agree on: the master key.

The database never sees it. It keeps a fingerprint, so that an engine with another key is refused when it starts, and
not found out by the first secret that it can't read.
"""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import bindparam, select

from overnight.embedded.master_key import KEY_FILE, KEY_VARIABLE, MasterKey
from overnight.embedded.sql.database import Database, Transaction
from overnight.embedded.sql.schema import deployment
from overnight.embedded.sql.statement import Statement, binds
from overnight.errors import Invalid

__all__ = ["agreed_key"]

_FIRST = Statement(lambda insert: insert(deployment).values(binds(deployment)).on_conflict_do_nothing())
_READ = Statement(select(deployment.c.value).where(deployment.c.name == bindparam("name")))
_NAME = "master_key"


def agreed_key(database: Database, folder: Path, environ: Mapping[str, str]) -> MasterKey:
    """The master key of the deployment that the database is: given by the environment, or kept in the folder.

    The first engine of all makes one, if it was given none, and keeps it in the folder.
    Raises Invalid when this engine has another key than those before it, or none.
    """
    row = database.read(lambda reading: reading.one(_READ, name=_NAME))
    key = MasterKey.given(environ) or MasterKey.kept(folder)
    if key is None and row is not None:
        raise _refused("other engines use this database already, and this one has no master key")
    made = key is None
    key = key or MasterKey.made(folder)
    fingerprint = key.derive("fingerprint").hex()

    def agree(transaction: Transaction) -> bool:
        transaction.run(_FIRST, name=_NAME, value=fingerprint)
        kept = transaction.one(_READ, name=_NAME)
        return kept is not None and kept[0] == fingerprint

    if database.write(agree):
        return key
    if made:  # another engine was the first, at the same moment
        (folder / KEY_FILE).unlink()
    raise _refused("the master key of this engine is not that of the engines before it")


def _refused(why: str) -> Invalid:
    return Invalid.field(
        KEY_VARIABLE, f"{why}; give all of them the same one: in this variable, or as a copy of {KEY_FILE} in --data"
    )
