"""What was looked at, and what was found."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

__all__ = ["Finding", "Report", "Span"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    kind: str
    agent: str
    message: str
    trigger: str | None = None
    at: datetime | None = None
    execution_id: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what was found; `cursor` asks for what is left to look at, None at the end."""

    agents: int = 0
    ticks: int = 0
    executions: int = 0
    findings: tuple[Finding, ...] = field(default=())
    cursor: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def followed_by(self, page: "Report") -> "Report":
        """Both as one."""
        return Report(
            self.agents + page.agents,
            self.ticks + page.ticks,
            self.executions + page.executions,
            self.findings + page.findings,
            page.cursor,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """What is looked at: ticks in [since, until), and of periods that are still open none from `settled` on.

    `settled` is also the time before which whatever was due must have been done.
    """

    now: datetime
    since: datetime
    until: datetime
    settled: datetime

    def kept(self, days: int) -> "Span":
        """The part of it that records of so many days are kept of."""
        return replace(self, since=max(self.since, self.now - timedelta(days=days)))
