"""The words of triggers: which are understood, what they mean, and how the wrong ones are refused."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from overnight.calendar.errors import CalendarError
from overnight.calendar.preview import preview
from overnight.triggers import KINDS, Schedule, Trigger, normalise

TRIGGER = TypeAdapter(Trigger)
NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


def read(text):
    return TRIGGER.validate_python(yaml.safe_load(text))


def problems(text):
    """Every problem as `field: message`."""
    with pytest.raises(ValidationError) as refused:
        read(text)
    return [
        ": ".join([".".join(str(part) for part in error["loc"][1:]), error["msg"].removeprefix("Value error, ")])
        for error in refused.value.errors()
    ]


DOCUMENTS = {
    "cron": [
        '{name: a, cron: "0 8 * * 1-5", timezone: Europe/Berlin}',
        "{name: a, cron: '@daily', start_at: 2026-12-01T00:00:00Z, end_at: '2027-01-01T00:00:00+01:00'}",
        "{name: a, cron: {hour: 8}, catch_up: all, catch_up_window_seconds: 3600, jitter_seconds: 30}",
        "{name: a, cron: '@daily', exclude: {dates: [2026-12-25, '2026-12-26'], weekdays: [sat, Sunday, 3]}}",
        "{name: a, cron: '@daily', exclude: {ranges: [{from: 2026-07-01, to: 2026-07-31}]}}",
        "{name: a, cron: '@daily', exclude: {ranges: [{from: 2026-07-01T00:00:00Z, to: '2026-07-31T00:00:00Z'}]}}",
    ],
    "interval": [
        '{name: a, interval: {hours: 1}, start_at: "2026-12-01T00:00:00Z", jitter_seconds: 30}',
        "{name: a, interval: {weeks: 1, days: 2, hours: 3, minutes: 4, seconds: 5}, timezone: Asia/Tokyo}",
    ],
    "date": ['{name: a, date: "2026-12-24T18:00:00+01:00"}', "{name: a, date: 2026-12-24T18:00:00Z}"],
    "webhook": [
        "{name: a, webhook: {}}",
        "{name: a, webhook: {signature: github, rate_limit_per_minute: 60}}",
        "{name: a, webhook: {signature: token, header: X-Token}}",
        (
            "{name: a, webhook: {signature: hmac, header: X-Signature, algorithm: sha1, encoding: base64, prefix: v1=,"
            " timestamp_header: X-Time, template: 'v1:{timestamp}:{body}'}}"
        ),
    ],
    "event": [
        "{name: a, event: {name: dataset.created}}",
        '{name: a, event: {name: dataset.*, filter: "size > `0`", input: "{input_value: summary}"}}',
    ],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind in KINDS for text in DOCUMENTS[kind]])
def test_a_trigger_s_kind_is_told_by_its_key_and_it_survives_json(kind, text):
    trigger = read(text)
    assert trigger.kind == kind
    assert TRIGGER.validate_json(TRIGGER.dump_json(trigger)) == trigger
    assert TRIGGER.validate_python(TRIGGER.dump_python(trigger, exclude_none=True)) == trigger


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{name: a}", ["needs exactly one of cron, interval, date, webhook, event"]),
        ("{name: a, cron: '@daily', date: 2026-12-24T18:00:00Z}", ["needs exactly one of"]),
        ("[]", ["needs exactly one of"]),
        ("{cron: '@daily'}", ["name: Field required"]),
        ("{name: 'a b', cron: '@daily'}", ["name: String should match pattern"]),
        ("{name: a, cron: '60 * * * *'}", ["minute: 60 is out of range"]),
        ("{name: a, cron: {minute: 60}}", ["minute: 60 is out of range"]),
        ("{name: a, cron: {hours: 1}}", ["cron: hours: is not a key of a cron schedule"]),
        ("{name: a, cron: {hour: '1 2'}}", ["cron: hour: '1 2' is not one field"]),
        ("{name: a, cron: {hour: true}}", ["cron: hour: must be text or a whole number"]),
        ("{name: a, cron: {}}", ["cron: cron: needs at least one of"]),
        ("{name: a, cron: 5}", ["cron: Input should be a valid string"]),
        ("{name: a, cron: '@daily', timezone: Berlin}", ["timezone: 'Berlin' is not an IANA time zone; did you mean"]),
        ("{name: a, cron: '@daily', start_at: '2026-12-01'}", ["start_at: '2026-12-01' is not an RFC 3339 instant"]),
        ("{name: a, cron: '@daily', start_at: 2026-12-01T00:00:00}", ["start_at: 2026-12-01T00:00:00 has no offset"]),
        ("{name: a, cron: '@daily', start_at: 1796083200}", ["start_at: must be RFC 3339 text"]),
        ("{name: a, cron: '@daily', end_at: '9999-12-01T00:00:00Z'}", ["end_at: must be between the years"]),
        (
            "{name: a, cron: '@daily', start_at: 2026-12-02T00:00:00Z, end_at: 2026-12-01T00:00:00Z}",
            ["end_at: must not be before start_at"],
        ),
        ("{name: a, cron: '@daily', jitter_seconds: -1}", ["jitter_seconds: Input should be greater than or equal"]),
        ("{name: a, cron: '@daily', catch_up: some}", ["catch_up: Input should be 'coalesce', 'skip' or 'all'"]),
        ("{name: a, cron: '@daily', surprise: 1}", ["surprise: Extra inputs are not permitted"]),
        ("{name: a, cron: '@daily', exclude: {dates: [Christmas]}}", ["exclude.dates.0: 'Christmas' is not a day"]),
        ("{name: a, cron: '@daily', exclude: {dates: ['2026-12-32']}}", ["exclude.dates.0: day is out of range"]),
        ("{name: a, cron: '@daily', exclude: {dates: ['2026-12-25T00:00:00Z']}}", ["exclude.dates.0: "]),
        ("{name: a, cron: '@daily', exclude: {weekdays: [8]}}", ["exclude.weekdays.0: Input should be 'mon'"]),
        ("{name: a, cron: '@daily', exclude: {weekdays: [0, 1, 2, 3, 4, 5, 6]}}", ["exclude: weekdays: all seven"]),
        (
            "{name: a, cron: '@daily', exclude: {ranges: [{from: 2026-07-01, to: 2026-07-31T00:00:00Z}]}}",
            ["exclude.ranges.0: from and to must be two dates, or two instants"],
        ),
        (
            "{name: a, cron: '@daily', exclude: {ranges: [{from: 2026-07-02, to: 2026-07-01}]}}",
            ["exclude.ranges.0: to must be later than from"],
        ),
        ("{name: a, interval: {}}", ["interval: interval: must be at least one second"]),
        ("{name: a, interval: {seconds: 0}}", ["interval: interval: must be at least one second"]),
        ("{name: a, interval: {seconds: 0.5}}", ["interval.seconds: Input should be a valid integer"]),
        ("{name: a, interval: {minutes: -1}}", ["interval.minutes: "]),
        ("{name: a, interval: {weeks: 9000}}", ["interval: interval: must be at most 36525 days"]),
        ("{name: a, date: 2026-12-24}", ["date: must be RFC 3339 text"]),
        ("{name: a, date: 2026-12-24T18:00:00Z, catch_up: all}", ["catch_up: Extra inputs"]),
        ("{name: a, date: 2026-12-24T18:00:00Z, end_at: 2026-12-01T00:00:00Z}", ["date: must lie between"]),
        ("{name: a, webhook: {signature: md5}}", ["webhook.signature: Input should be 'standard-webhooks'"]),
        ("{name: a, webhook: {header: X-Sig}}", ["webhook: header: means nothing with signature standard-webhooks"]),
        ("{name: a, webhook: {signature: token, template: x}}", ["webhook: template: means nothing"]),
        ("{name: a, webhook: {signature: hmac}}", ["webhook: header: signature hmac needs"]),
        ("{name: a, webhook: {signature: hmac, header: 'X Sig'}}", ["webhook.header: "]),
        ("{name: a, webhook: {signature: hmac, header: X, template: t}}", ["webhook: template: must contain {body}"]),
        (
            "{name: a, webhook: {signature: hmac, header: X, template: '{id}{body}'}}",
            ["webhook: template: only {timestamp} and {body}"],
        ),
        (
            "{name: a, webhook: {signature: hmac, header: X, template: '{timestamp}{body}'}}",
            ["webhook: timestamp_header: must be given"],
        ),
        ("{name: a, event: {name: '*'}}", ["event.name: "]),
        ("{name: a, event: {name: 'data*'}}", ["event.name: "]),
        ("{name: a, event: {name: a, filter: 'b ||'}}", ["event.filter: not a JMESPath expression"]),
        ("{name: a, event: {name: a, input: '" + "[" * 2_000 + "'}}", ["event.input: not a JMESPath expression"]),
        ("{name: a, event: {}}", ["event.name: Field required"]),
    ],
)
def test_what_is_wrong_is_refused_with_every_field_named(text, expected):
    found = problems(text)
    assert len(found) == len(expected), found
    assert all(part.strip(": ") in problem for part, problem in zip(expected, found, strict=True)), found


@pytest.mark.parametrize(
    ("keys", "expression"),
    [
        ("{hour: 8}", "0 8 * * *"),
        ("{hour: 8, minute: '*'}", "* 8 * * *"),
        ("{minute: '*/10'}", "*/10 * * * *"),
        ("{day_of_week: 1-5}", "0 0 * * 1-5"),
        ("{day_of_week: mon, hour: '9,17'}", "0 9,17 * * mon"),
        ("{day: 15}", "0 0 15 * *"),
        ("{month: 6}", "0 0 1 6 *"),
        ("{day: L, minute: 30}", "30 * L * *"),
        ("{minute: 0, hour: 8, day: '*', month: '*', day_of_week: 1-5}", "0 8 * * 1-5"),
        ("{hour: 8, minute: null}", "0 8 * * *"),
    ],
)
def test_of_five_keys_those_below_the_least_given_are_at_their_minimum(keys, expression):
    assert read(f"{{name: a, cron: {keys}}}").cron == expression


@pytest.mark.parametrize(
    ("older", "today"),
    [
        (
            '{trigger_type: cron, trigger_config: {minute: "0", hour: "8", day: "*", month: "*", day_of_week: 1-5}}',
            '{name: schedule, cron: {minute: "0", hour: "8", day: "*", month: "*", day_of_week: 1-5}}',
        ),
        (
            "{name: b, trigger_type: cron, trigger_config: {hour: 8, timezone: Europe/Berlin, jitter: 30}}",
            "{name: b, cron: {hour: 8}, timezone: Europe/Berlin, jitter_seconds: 30}",
        ),
        ("{trigger_type: cron, trigger_config: {cron_expression: '@daily'}}", "{name: schedule, cron: '@daily'}"),
        (
            "{trigger_type: interval, trigger_config: {minutes: 5, start_date: 2026-12-01T00:00:00Z, end_date: null}}",
            "{name: schedule, interval: {minutes: 5}, start_at: 2026-12-01T00:00:00Z}",
        ),
        (
            "{trigger_type: date, trigger_config: {run_date: 2026-12-24T18:00:00Z}}",
            "{name: schedule, date: 2026-12-24T18:00:00Z}",
        ),
        ("{trigger_type: webhook, trigger_config: {}}", "{name: webhook, webhook: {}}"),
        ("{trigger_type: webhook}", "{name: webhook, webhook: {}}"),
        ("{trigger_type: event, trigger_config: {event_type: a.b}}", "{name: event, event: {name: a.b}}"),
        ("{trigger_type: event, trigger_config: {name: a.b}}", "{name: event, event: {name: a.b}}"),
        ("{name: a, cron: '@daily'}", "{name: a, cron: '@daily'}"),
    ],
)
def test_older_spellings_mean_the_same(older, today):
    assert normalise(yaml.safe_load(older)) == yaml.safe_load(today)
    assert read(older) == read(today)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{trigger_type: smoke}", "trigger_type: must be one of cron, interval, date, webhook, event, not 'smoke'"),
        ("{trigger_config: {}}", "trigger_type: must be one of"),
        ("{trigger_type: cron, trigger_config: 5}", "trigger_config: must be an object"),
        ("{trigger_type: cron, trigger_config: {hour: 8}, cron: '@daily'}", "cron: give either this or"),
        ("{trigger_type: cron, trigger_config: {cron: '@daily', hour: 8}}", "trigger_config: cron stands alone"),
        ("{trigger_type: date, trigger_config: {}}", "trigger_config: a date needs run_date"),
    ],
)
def test_older_spellings_that_are_no_trigger_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        normalise(yaml.safe_load(text))
    assert message in problems(text)[0]


def test_one_to_five_is_monday_to_friday():
    runs = preview(read("{name: a, cron: {day_of_week: 1-5, hour: 8}}").calendar(), NOW, 5)
    assert [run.utc[:10] for run in runs] == ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27"]


def test_an_interval_begins_at_start_at_or_an_interval_after_its_first_arming():
    hourly = read("{name: a, interval: {hours: 1}}")
    assert hourly.calendar(NOW).next(NOW) == NOW + timedelta(hours=1)
    anchored = read("{name: a, interval: {hours: 1}, start_at: 2026-12-01T00:00:00Z}")
    assert anchored.calendar(NOW).next(NOW) == datetime(2026, 12, 1, tzinfo=UTC)
    with pytest.raises(CalendarError, match="start_at: an interval that was never armed needs it"):
        hourly.calendar()


def test_excluded_days_are_days_of_the_trigger_s_zone():
    text = "{name: a, interval: {hours: 6}, start_at: 2026-12-24T00:00:00Z, exclude: {dates: [2026-12-25]}"
    in_utc, in_tokyo = read(text + "}"), read(text + ", timezone: Asia/Tokyo}")
    tick = datetime(2026, 12, 24, 18, tzinfo=UTC)
    assert not in_utc.calendar().is_excluded(tick)
    assert in_tokyo.calendar().is_excluded(tick)


def test_every_exclusion_reaches_the_calendar():
    calendar = read(
        "{name: a, cron: '0 12 * * *', exclude: {dates: [2026-12-01], weekdays: [sat, 0], ranges:"
        " [{from: 2026-12-08, to: 2026-12-09}, {from: 2026-12-10T12:00:00Z, to: 2026-12-11T12:00:00Z}]}}"
    ).calendar()
    since = datetime(2026, 12, 1, tzinfo=UTC)
    days = [tick.day for tick in calendar.runs(since, since + timedelta(days=13))]
    assert days == [2, 3, 4, 7, 11]


def test_a_past_date_is_refused_when_a_trigger_is_new():
    trigger = read("{name: a, date: 2026-11-20T08:30:00Z}")
    trigger.refuse_past(NOW - timedelta(seconds=1))
    with pytest.raises(CalendarError, match="date: 2026-11-20T08:30:00Z is in the past"):
        trigger.refuse_past(NOW)
    assert trigger.calendar().next(NOW) is None


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("dataset.*", "dataset.created", True),
        ("dataset.*", "dataset.created.today", True),
        ("dataset.*", "dataset", False),
        ("dataset.*", "dataset.", False),
        ("dataset.*", "datasets.created", False),
        ("dataset.created", "dataset.created", True),
        ("dataset.created", "dataset.created.today", False),
    ],
)
def test_an_event_is_named_exactly_or_by_a_prefix_that_ends_at_a_dot(pattern, name, matches):
    assert read(f"{{name: a, event: {{name: {pattern}}}}}").event.matches(name) is matches


def test_triggers_never_change():
    trigger = read("{name: a, cron: '@daily'}")
    with pytest.raises(ValidationError, match="frozen"):
        trigger.name = "b"
    assert hash(trigger) == hash(read("{name: a, cron: '@daily'}"))


def test_a_schedule_is_a_trigger_that_time_fires():
    schedule = TypeAdapter(Schedule)
    assert schedule.validate_python({"name": "a", "cron": "@daily"}).kind == "cron"
    with pytest.raises(ValidationError, match="needs exactly one of cron, interval, date"):
        schedule.validate_python({"name": "a", "webhook": {}})


def test_the_json_schema_describes_each_kind_and_the_five_keys():
    schema = TRIGGER.json_schema()
    assert len(schema["oneOf"]) == len(KINDS)
    cron = schema["$defs"]["CronTrigger"]["properties"]["cron"]
    assert set(cron["anyOf"][1]["properties"]) == {"minute", "hour", "day", "month", "day_of_week"}
    assert "left out" in cron["description"]
    assert set(schema["$defs"]["ExcludedRange"]["properties"]) == {"from", "to"}
