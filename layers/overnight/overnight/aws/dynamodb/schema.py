"""The table: its keys, its indexes, and what stands where.

    item           pk                  sk                  indexes
    agent          AGENT#<id>          AGENT               by_owner: AGENTS, by id
    state          AGENT#<id>          STATE               by_due: DUE#AGENT#<shard>, when to look
                                                           by_owner: STATUS#<status>, by name, unless it is deleted
    former agent   VERSION#<id>        <version>
    armed period   ARMED#<id>          <trigger>#<since>
    name           NAMES               <name>
    name again     NAMES#<kind>        <name>              where it has triggers of that kind: schedule, webhook
    subscription   EVENT#<name>        <agent>
    webhook        HOOK#<id>           HOOK                by_owner: HOOKS#<agent>
    use of a flow  FLOW#<digest>       <agent>             by_owner: FLOWS#<agent>
    execution      EXEC#<id>           EXEC                by_owner: EXECS#<agent>, newest last
                                                           by_day: DAY#<date>#<shard>
                                                           by_due, until it is terminal: LIVE#<shard> or
                                                             DUE#EXEC#<shard>, and the time; see `due`
                                                           by_tick: TICKS#<agent>#<trigger>, nominal instant
                                                           by_failure: FAILED#<month>#<shard>
    attempt        EXEC#<id>           ATTEMPT#<n>         but for the first and the last, which are in the row
    event          OUTBOX#<id>         EVENT               by_due, until it is fanned out: DUE#EVENT#<shard>
    delivery       NOTICE#<id>         NOTICE              by_owner: NOTICES#<agent>; by_due: DUE#NOTICE#<shard>
    sweep          STACK               SWEEP               how far the sweep of blobs has come

Agent and state are alone in their partition, so one query reads both. Every index holds keys only; a shared one is
sharded, as a partition takes a thousand writes a second. Two indexes may share an attribute, which is stored once.
Instants are RFC 3339 in UTC with microseconds where they sort; `ttl` is Unix seconds, and DynamoDB deletes late, so
whoever reads an item looks at it.
"""

import zlib
from typing import NamedTuple

__all__ = [
    "BY_DAY",
    "BY_DUE",
    "BY_FAILURE",
    "BY_OWNER",
    "BY_TICK",
    "INDEXES",
    "PK",
    "SHARDS",
    "SK",
    "TTL",
    "Index",
    "shard_of",
    "shards",
]

PK, SK = "pk", "sk"
"""The table's partition key and sort key, strings."""

TTL = "ttl"
"""The attribute of DynamoDB's time to live, Unix seconds."""

SHARDS = 4
"""Over how many partitions a key that all agents share is spread."""


def shards(key: str) -> list[str]:
    """The partitions over which a key is spread."""
    return [f"{key}#{number}" for number in range(SHARDS)]


def shard_of(key: str, id_: str) -> str:
    """The one of them in which this id is."""
    return f"{key}#{zlib.crc32(id_.encode()) % SHARDS}"


class Index(NamedTuple):
    """A global secondary index: keys only, both keys strings."""

    name: str
    pk: str
    sk: str


BY_OWNER = Index("by_owner", "owner", "at")
"""What belongs to one agent, by time; and all agents by id."""

BY_DUE = Index("by_due", "shard", "look")
"""Sparse: what somebody must look at, and when."""

BY_DAY = Index("by_day", "day", "at")
"""Executions across agents."""

BY_TICK = Index("by_tick", "ledger", "tick")
"""Sparse: the ledgers of schedules."""

BY_FAILURE = Index("by_failure", "failed", "at")
"""Sparse: failed executions across agents."""

INDEXES = (BY_OWNER, BY_DUE, BY_DAY, BY_TICK, BY_FAILURE)
