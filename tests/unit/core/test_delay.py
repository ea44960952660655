"""How long a retry waits: every backoff, every jitter, what the flow asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.policies import Retries

TABLE = [
    # backoff, tries → the wait in full
    ("fixed", [60, 60, 60, 60]),
    ("linear", [60, 120, 180, 240]),
    ("exponential", [60, 120, 240, 480]),
]


@pytest.mark.parametrize(("backoff", "waits"), TABLE)
@pytest.mark.parametrize(
    ("jitter", "chance", "share"),
    [("none", 0.3, 1), ("full", 0, 0), ("full", 0.5, 0.5), ("equal", 0, 0.5), ("equal", 0.5, 0.75)],
)
def test_the_wait_grows_by_its_backoff_and_jitter_leaves_part_of_it_to_chance(
    backoff: str, waits: list[float], jitter: str, chance: float, share: float
):
    policy = Retries.model_validate({"backoff_seconds": 60, "backoff": backoff, "jitter": jitter})
    assert [policy.delay_seconds(tries, chance) for tries in range(1, 5)] == [wait * share for wait in waits]


def test_a_factor_other_than_two():
    policy = Retries(backoff_seconds=1, factor=3, jitter="none")  # type: ignore[arg-type]
    assert [policy.delay_seconds(tries, 0) for tries in (1, 2, 3, 4)] == [1, 3, 9, 27]


def test_by_default_a_wait_is_exponential_with_full_jitter_and_at_most_an_hour():
    policy = Retries()
    assert policy.delay_seconds(1, 1 - 1e-9) == pytest.approx(60)
    assert policy.delay_seconds(90, 1 - 1e-9) == pytest.approx(3_600)


def test_what_the_flow_asks_for_is_waited_for_even_beyond_the_longest_wait_but_at_most_a_day():
    policy = Retries(backoff_seconds=1, max_backoff_seconds=10, jitter="none")  # type: ignore[arg-type]
    assert policy.delay_seconds(1, 0, asked_seconds=120) == 120
    assert policy.delay_seconds(1, 0, asked_seconds=1e9) == 86_400
    assert policy.delay_seconds(9, 0, asked_seconds=2) == 10


@given(
    policy=st.builds(
        Retries,
        backoff_seconds=st.floats(0, 86_400),
        backoff=st.sampled_from(["exponential", "fixed", "linear"]),
        factor=st.floats(1, 10),
        max_backoff_seconds=st.floats(0, 7 * 86_400),
        jitter=st.sampled_from(["full", "equal", "none"]),
    ),
    tries=st.integers(1, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.floats(0, 1e12),
)
def test_no_wait_is_negative_or_longer_than_the_longest_unless_the_flow_asks(
    policy: Retries, tries: int, chance: float, asked: float | None
):
    assert 0 <= policy.delay_seconds(tries, chance) <= policy.max_backoff_seconds
    asked_for = policy.delay_seconds(tries, chance, asked)
    assert asked_for == max(policy.delay_seconds(tries, chance), min(asked or 0, 86_400))
