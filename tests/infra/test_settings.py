"""The context switches: what they take, what they refuse, and in which words."""

import pytest
from infra.settings import InvalidContext, Settings


def refused(**context) -> str:
    with pytest.raises(InvalidContext) as caught:
        Settings.read(context)
    return str(caught.value)


def test_nothing_needs_to_be_said():
    settings = Settings.read({})
    assert (settings.name, settings.architecture, settings.runner_package) == ("overnight", "arm64", "zip")
    assert settings.langflow
    assert not settings.runner_snapstart


def test_what_comes_by_the_command_line_is_text():
    settings = Settings.read(
        {
            "langflow": "false",
            "runner_timeout_seconds": "120",
            "tags": '{"team": "data"}',
            "readable_secrets": "arn:aws:ssm:x:1:parameter/a, arn:aws:ssm:x:1:parameter/b",
        }
    )
    assert settings.langflow is False
    assert settings.runner_timeout_seconds == 120
    assert settings.tags == {"team": "data"}
    assert len(settings.readable_secrets) == 2


def test_what_is_cdks_own_is_left_alone():
    assert Settings.read({"@aws-cdk/core:checkSecretUsage": True, "aws:cdk:bundling-stacks": []}) == Settings()


@pytest.mark.parametrize(
    ("context", "says"),
    [
        ({"allarms": "false"}, "context allarms: there is no such switch; did you mean alarms?"),
        ({"frobnicate": "1"}, "context frobnicate: there is no such switch"),
        ({"name": "my stack"}, "context name: "),
        ({"runner_timeout_seconds": "901"}, "context runner_timeout_seconds: "),
        ({"runner_concurrency": "1"}, "context runner_concurrency: "),
        ({"log_retention_days": "31"}, "context log_retention_days: CloudWatch Logs keeps logs for one of 1, 3, 5"),
        ({"tags": "team=data"}, "context tags: must be JSON"),
        ({"alarm_email": "ops"}, "context alarm_email: "),
        ({"kms_key_arn": "alias/mine"}, "context kms_key_arn: "),
        ({"requirements": "nowhere.txt"}, "context nowhere.txt: there is no such file"),
        ({"folders": "nowhere"}, "context nowhere: there is no such folder"),
        (
            {"runner_snapstart": "true", "runner_package": "image"},
            "context runner_snapstart: Lambda takes snapshots of zip",
        ),
        ({"retain_data": "false", "deletion_protection": "true"}, "context deletion_protection: "),
        (
            {"kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/1", "region": "us-east-1"},
            "context kms_key_arn: the key must be in us-east-1",
        ),
        ({"vpc": '{"vpc_id": "vpc-12345678"}'}, "context vpc.subnet_ids: Field required"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(context, says):
    assert says in refused(**context)


def test_all_that_is_wrong_is_said_at_once():
    assert len(refused(allarms="false", runner_memory_mb="1", name="-").splitlines()) == 3


def test_a_key_says_the_region():
    assert Settings.read({"kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/1"}).home == "eu-west-1"


def test_a_table_is_protected_where_it_is_retained():
    assert Settings().protects_table
    assert not Settings(retain_data=False).protects_table
    assert not Settings(deletion_protection=False).protects_table


def test_every_switch_is_explained():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
