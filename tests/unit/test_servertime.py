from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from overnight.embedded.sql.servertime import ServerTime

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = 1_000_000


class Elapsed:
    def __init__(self) -> None:
        self.us = 5 * SECOND

    def __call__(self) -> int:
        return self.us


def measured(server: ServerTime, elapsed: Elapsed, at: datetime, there: int, back: int) -> datetime:
    """Ask a server whose time is `at` and the answer so long under way; its time when the answer is there."""
    asked = elapsed.us
    elapsed.us += there + back
    server.measured(asked, at + timedelta(microseconds=there), elapsed.us)
    return at + timedelta(microseconds=there + back)


def test_the_time_goes_on_between_two_measurements():
    elapsed = Elapsed()
    server = ServerTime(elapsed)
    measured(server, elapsed, NOON, 0, 0)
    elapsed.us += 90 * SECOND
    assert server.now() == NOON + timedelta(seconds=90)


@given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(0, SECOND), st.integers(0, 10 * SECOND)), min_size=1))
def test_it_is_never_early_and_late_by_the_quickest_answer_at_most(rounds):
    elapsed = Elapsed()
    server = ServerTime(elapsed)
    at, best = NOON, SECOND * 2
    for there, back, later in rounds:
        at = measured(server, elapsed, at, there, back)
        best = min(best, there + back)
        assert at - timedelta(microseconds=best) <= server.now() <= at
        elapsed.us += later
        at += timedelta(microseconds=later)


def test_a_slow_answer_changes_nothing():
    elapsed = Elapsed()
    server = ServerTime(elapsed)
    at = measured(server, elapsed, NOON, 10, 10)
    before = at - server.now()
    at = measured(server, elapsed, at, 0, 3 * SECOND)
    assert at - server.now() == before


def test_a_server_whose_clock_was_set_is_followed():
    elapsed = Elapsed()
    server = ServerTime(elapsed)
    measured(server, elapsed, NOON, 10, 10)
    for jump in (timedelta(hours=1), -timedelta(hours=2)):
        at = measured(server, elapsed, server.now() + jump, 10, 10)
        assert at - timedelta(microseconds=20) <= server.now() <= at
