"""Ledgers: what the records of a schedule must be, computed again, and what they are."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice

from overnight.agents import Agent, ArmedPeriod
from overnight.calendar.dates import format_instant
from overnight.calendar.zones import tzdata_version
from overnight.core.verify.findings import Finding, Span
from overnight.executions import Stretch, Tick

__all__ = ["Ledger", "ledgers"]

Touched = Callable[[Stretch], bool]
"""Whether there is a record that touches this stretch."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A stretch of a trigger's ledger, as it must be: a record of each tick in `owed`, perhaps of those in `recent`.

    Of what was armed under another release of tzdata (`foreign`) the ticks are not known, only about how many `ticks`
    there are. `begin` is where the whole look began, of which the stretch may be a part.
    """

    agent: Agent
    stretch: Stretch
    begin: datetime
    ticks: int
    owed: Sequence[datetime]
    recent: Sequence[datetime]
    foreign: Sequence[tuple[datetime, datetime]]

    def findings(self, ticks: Sequence[Tick], touched: Touched) -> Iterator[Finding]:
        """What is wrong with these records of the stretch."""
        records = [record for record in ticks if record.nominal < self.stretch.until or record.until]
        ranges = [record for record in records if record.until]
        yield from self._doubles(records, ranges)
        covered = {record.nominal for record in records}
        for tick in self.owed:
            if tick not in covered and not any(r.until and r.nominal <= tick <= r.until for r in ranges):
                yield self._finding("hole", f"no record of the tick {format_instant(tick)}", tick)
        yield from self._chain([record for record in records if self._is_foreign(record)], touched)
        expected = {*self.owed, *self.recent}
        for record in records:
            inside = record.nominal >= self.stretch.since and not record.until
            if inside and record.nominal not in expected and not self._is_foreign(record):
                message = f"{format_instant(record.nominal)} is no tick of an armed period"
                yield self._finding("stray", message, record.nominal, record.execution_id)

    def _doubles(self, records: Sequence[Tick], ranges: Sequence[Tick]) -> Iterator[Finding]:
        times = Counter(record.nominal for record in records)
        for record in records:
            if record.nominal < self.stretch.since and self.stretch.since > self.begin:
                continue  # The stretch before this one has told of it.
            inside = any(o is not record and o.until and o.nominal <= record.nominal <= o.until for o in ranges)
            if times[record.nominal] > 1 or inside:
                message = f"the tick {format_instant(record.nominal)} has more than one record"
                yield self._finding("double", message, record.nominal, record.execution_id)

    def _is_foreign(self, record: Tick) -> bool:
        return any(first <= record.nominal < end for first, end in self.foreign)

    def _chain(self, records: Sequence[Tick], touched: Touched) -> Iterator[Finding]:
        """Under another tzdata the records prove themselves: each names the one before it."""
        before: Tick | None = None
        for record in records:
            last = (before.until or before.nominal) if before else None
            missing = record.previous is not None and record.previous >= self.begin and record.previous != last
            if missing and before is None and record.previous is not None:  # It may be in the stretch before.
                missing = not touched(self.stretch._replace(since=record.previous, until=record.previous))
            if missing and record.previous is not None:
                names = f"{format_instant(record.nominal)} names {format_instant(record.previous)} before it"
                message = f"{names}, which is missing"
                yield self._finding("unverifiable", message, record.nominal, record.execution_id)
            before = record

    def _finding(self, kind: str, message: str, at: datetime, execution_id: str | None = None) -> Finding:
        return Finding(kind, self.agent.name, message, self.stretch.trigger, at, execution_id)


def ledgers(
    agent: Agent, periods: Sequence[ArmedPeriod], span: Span, begin: datetime, most: int
) -> tuple[list[Ledger], datetime | None]:
    """The ledgers of an agent over a span, from `begin` on, as its armed periods (by trigger and time) say.

    Where they have more ticks than `most`, they end before it is one too many, at the time that is returned with them.
    """
    found = {
        trigger: list(islice(_ticks(armed, begin, span.until), most + 1))
        for trigger, armed in groupby(periods, key=lambda period: period.trigger)
    }
    cut = None
    if sum(map(len, found.values())) > most:
        cut = sorted(tick for ticks in found.values() for tick, _ in ticks)[most]
    end = cut or span.until
    zones = tzdata_version()
    made = []
    for trigger, armed in groupby(periods, key=lambda period: period.trigger):
        foreign = {id(period): _within(period, begin, end) for period in armed if period.tzdata != zones}
        known = [(tick, period) for tick, period in found[trigger] if tick < end and id(period) not in foreign]
        # A period was closed only when its ledger was complete; an open one's last ticks may be under way.
        owed = [tick for tick, period in known if period.until or tick < span.settled]
        recent = [tick for tick, period in known if not (period.until or tick < span.settled)]
        stretch = Stretch(agent.id, trigger, begin, end)
        ticks = min(len(found[trigger]), most)
        made.append(Ledger(agent, stretch, span.since, ticks, owed, recent, tuple(foreign.values())))
    return made, cut


def _ticks(armed: Iterable[ArmedPeriod], begin: datetime, until: datetime) -> Iterator[tuple[datetime, ArmedPeriod]]:
    for period in armed:
        for tick in period.definition.calendar(period.anchor).ticks(*_within(period, begin, until)):
            yield tick, period


def _within(period: ArmedPeriod, begin: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The part of [begin, until) in which the period has ticks: after its beginning, and up to and with its end."""
    end = min(period.until + datetime.resolution, until) if period.until else until
    return max(period.since + datetime.resolution, begin), end
