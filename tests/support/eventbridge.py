"""EventBridge Scheduler's expressions, read as AWS documents them, independently of the calendar.

Local times that do not exist never come; those that come twice count the first time.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import re
from calendar import monthrange
from datetime import datetime
from importlib import resources
from zoneinfo import ZoneInfo

__all__ = ["Scheduler", "zone"]


def zone(name):
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file)


class Scheduler:
    """One expression, as EventBridge Scheduler understands it."""

    def __init__(self, expression):
        assert len(expression.expression) <= 256
        self.zone = zone(expression.timezone)
        self.kind, text = re.fullmatch(r"(cron|at)\((.*)\)", expression.expression).groups()
        self.text = text
        if self.kind == "cron":
            minutes, hours, self.day, months, self.day_of_week, year = text.split(" ")
            self.minutes, self.hours = self.numbers(minutes, 0, 59), self.numbers(hours, 0, 23)
            self.months = self.numbers(months, 1, 12)
            assert year == "*"
            assert (self.day == "?") != (self.day_of_week == "?")
            assert re.fullmatch(r"\?|L|[^?LW#]+", self.day)
            assert re.fullmatch(r"\?|[1-7]#[1-5]|[1-7]L|[^?L#/]+", self.day_of_week)
            self.days = None if self.day in "?L" else self.numbers(self.day, 1, 31)
            plain = not re.search("[?L#]", self.day_of_week)
            self.weekdays = self.numbers(self.day_of_week, 1, 7) if plain else None

    @staticmethod
    def numbers(text, low, high):
        found = set()
        for item in text.split(","):
            base, slash, step = item.partition("/")
            first, dash, last = base.partition("-")
            start = low if first == "*" else int(first)
            stop = int(last) if dash else high if slash or first == "*" else start
            assert low <= start <= stop <= high
            found |= set(range(start, stop + 1, int(step or 1)))
        return found

    def fires_on(self, day):
        if day.month not in self.months:
            return False
        length = monthrange(day.year, day.month)[1]
        if self.day == "L":
            return day.day == length
        if self.days is not None:
            return day.day in self.days
        weekday = day.isoweekday() % 7 + 1
        if self.weekdays is not None:
            return weekday in self.weekdays
        if self.day_of_week.endswith("L"):
            return weekday == int(self.day_of_week[0]) and day.day > length - 7
        name, nth = map(int, self.day_of_week.split("#"))
        return weekday == name and (day.day - 1) // 7 + 1 == nth

    def fires_in_the_minute_of(self, instant):
        local = instant.astimezone(self.zone)
        if self.kind == "at":
            at = datetime.fromisoformat(self.text).replace(tzinfo=self.zone)
            return at.replace(second=0) == instant.replace(second=0, microsecond=0)
        here = local.minute in self.minutes and local.hour in self.hours and local.fold == 0
        return here and self.fires_on(local.date())
