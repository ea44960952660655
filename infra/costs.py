"""What a stack costs, worked out: idle, and by the million executions; docs/costs.md holds what this prints.

    python -m infra.costs

Prices are those of us-east-1 in November 2026, in US dollars, without free tiers. The counts are those that the tests
hold the engine to; durations are assumptions, to be replaced by one's own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["COUNTS", "METRICS", "TABLES", "Line", "idle", "main", "million", "snapstart", "table"]

MILLION = 1_000_000
MINUTES = 43_800
"""Of a month."""
DAYS = MINUTES / 1_440
RETENTION_DAYS = 30
SWEPT_EVERY_DAYS = 7
BLOBS_A_LIST = 500

REQUEST = 0.20 / MILLION
GB_SECOND = 0.0000133334
WRITE_UNIT = 0.625 / MILLION
READ_UNIT = 0.125 / MILLION
SQS_REQUEST = 0.40 / MILLION
SCHEDULER_CALL = 1.00 / MILLION
BUS_EVENT = 1.00 / MILLION
API_REQUEST = 3.50 / MILLION
ALARM_METRIC = 0.10
METRIC = 0.30
LOG_GB = 0.50
S3_PUT = 5.00 / MILLION
"""A list costs the same."""
S3_GB_MONTH = 0.023
SNAPSHOT_GB_SECOND = 0.0000015046
RESTORED_GB = 0.0001397998

LIGHT_GB = 0.5


@dataclass(frozen=True, slots=True)
class Counts:
    """What is done for one scheduled execution that succeeds at once, and for one round of an idle watchdog."""

    write_units: float = 12
    read_units: float = 4
    tick_seconds: float = 0.1
    event_write_units: float = 0
    event_read_units: float = 3
    """A lifecycle event that nobody follows, looked up under three names."""
    events_seconds: float = 0.03
    log_kilobytes: float = 2.0
    puts: float = 1
    """Of blobs, by an attempt that prints something: its output. Values below a kilobyte are in the row."""
    swept_read_units: float = 1
    """For an execution with blobs, each time they are swept."""
    watchdog_read_units: float = 10
    """Five kinds of due items in four shards, each at least half a unit."""
    sweep_read_units: float = 1
    """Each hour, to see whether it is time."""
    watchdog_seconds: float = 0.15
    watchdog_log_kilobytes: float = 0.5
    polls_a_minute: float = 15
    """Of an event source mapping without messages: five pollers, 20 seconds each."""


COUNTS = Counts()


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a bill: what, how it comes about, and dollars."""

    what: str
    how: str
    dollars: float


def idle(counts: Counts = COUNTS, *, mappings: int = 4, alarm_metrics: int = 23) -> Iterator[Line]:
    """A month in which nothing runs. An agent adds nothing to it, however many there are."""
    compute = counts.watchdog_seconds * LIGHT_GB * GB_SECOND
    yield Line(
        "Watchdog", f"{MINUTES:,} rounds, {counts.watchdog_seconds:g} s at 512 MB", MINUTES * (REQUEST + compute)
    )
    yield Line("Watchdog's calls by Scheduler", f"{MINUTES:,}", MINUTES * SCHEDULER_CALL)
    reads = counts.watchdog_read_units
    yield Line("Watchdog's reads", f"{reads:g} units a round", MINUTES * reads * READ_UNIT)
    gigabytes = MINUTES * counts.watchdog_log_kilobytes / MILLION
    hours, rounds = MINUTES / 60, DAYS / SWEPT_EVERY_DAYS
    sweep = hours * counts.sweep_read_units * READ_UNIT + rounds * (S3_PUT + WRITE_UNIT)
    yield Line("Sweep of blobs", f"{hours:,.0f} reads, and a list a week", sweep)
    yield Line("Watchdog's log", f"{gigabytes * 1_000:.0f} MB", gigabytes * LOG_GB)
    polls = MINUTES * counts.polls_a_minute
    yield Line("Pollers", f"{mappings} queues, {polls:,.0f} requests each", mappings * polls * SQS_REQUEST)
    yield Line("Alarms", f"{alarm_metrics} metrics; none with `alarms=false`", alarm_metrics * ALARM_METRIC)


def million(counts: Counts = COUNTS, *, seconds: float = 2.0, gigabytes: float = 0.5) -> Iterator[Line]:
    """A million scheduled executions of so many seconds, with a runner of so much memory."""
    yield Line("Flows", f"{seconds:g} s at {gigabytes:g} GB", MILLION * (REQUEST + seconds * gigabytes * GB_SECOND))
    yield Line("Records: writes", f"{counts.write_units:g} units each", MILLION * counts.write_units * WRITE_UNIT)
    yield Line("Records: reads", f"{counts.read_units:g} units each", MILLION * counts.read_units * READ_UNIT)
    yield Line("Scheduler", "a call each", MILLION * SCHEDULER_CALL)
    tick = REQUEST + counts.tick_seconds * LIGHT_GB * GB_SECOND
    yield Line("Tick function", f"{counts.tick_seconds:g} s at 512 MB", MILLION * tick)
    yield Line("Run queue", "sent, received, deleted", MILLION * 3 * SQS_REQUEST)
    yield Line("Lifecycle event", "one each on the bus", MILLION * BUS_EVENT)
    batches = MILLION / 10
    taken = MILLION * 1.2 * SQS_REQUEST + batches * (REQUEST + 10 * counts.events_seconds * LIGHT_GB * GB_SECOND)
    yield Line("Events queue and function", "in batches of ten", taken)
    kept = counts.event_write_units * WRITE_UNIT + counts.event_read_units * READ_UNIT
    how = f"{counts.event_write_units:g} write and {counts.event_read_units:g} read units each"
    yield Line("Bringing events to agents", how, MILLION * kept)
    yield Line("Logs", f"{counts.log_kilobytes:g} KB each", counts.log_kilobytes * LOG_GB)
    how = f"{counts.puts:g} blob each of {counts.log_kilobytes:g} KB, kept for {RETENTION_DAYS} days"
    yield Line("What attempts print", how, counts.puts * (MILLION * S3_PUT + _kept(counts)))


def _kept(counts: Counts) -> float:
    """To keep a million blobs for their retention: storage, and being looked at by the sweep."""
    storage = counts.log_kilobytes * S3_GB_MONTH * RETENTION_DAYS / DAYS
    look = counts.swept_read_units * READ_UNIT + S3_PUT / BLOBS_A_LIST
    return storage + MILLION * look * RETENTION_DAYS / SWEPT_EVERY_DAYS


METRICS = 9
"""Counters and timers of the stack's own; each is billed in a month in which it has a value."""


def snapstart(*, gigabytes: float = 2.0) -> Iterator[Line]:
    """A month of SnapStart for a runner of so much memory: one published version, and a thousand cold starts."""
    month = MINUTES * 60
    yield Line("Cache", f"one version of {gigabytes:g} GB", gigabytes * month * SNAPSHOT_GB_SECOND)
    yield Line("Restores", "a thousand", 1_000 * gigabytes * RESTORED_GB)


def table(lines: Iterator[Line]) -> str:
    """The lines as a table in Markdown, with their sum."""
    found = list(lines)
    rows = [f"| {line.what} | {line.how} | {line.dollars:.2f} |" for line in found]
    total = f"| **Together** | | **{sum(line.dollars for line in found):.2f}** |"
    return "\n".join(["| | how | $ |", "|---|---|---:|", *rows, total])


TABLES: dict[str, Callable[[], Iterator[Line]]] = {
    "A month idle": idle,
    "A million executions": million,
    "A month of SnapStart": snapstart,
}


def main() -> None:
    """Print both tables."""
    for title, lines in TABLES.items():
        print(f"{title}\n\n{table(lines())}\n")


if __name__ == "__main__":
    main()
