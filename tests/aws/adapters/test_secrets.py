import json

import pytest
from tests.support import aws
from tests.support.faults import faulty, refused

from overnight.aws.secrets import CACHED_SECONDS, SsmSecretStore
from overnight.errors import Invalid, NotFound, Unavailable


class Time:
    at = 0.0

    def __call__(self):
        return self.at


@pytest.fixture
def path():
    return f"/overnight/{aws.fresh('secrets')}"


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def secrets(path, clock):
    return SsmSecretStore(lambda: aws.client("ssm"), lambda: aws.client("secretsmanager"), path, clock=clock)


def test_a_secret_is_kept_encrypted_under_the_stacks_path(secrets, path):
    secrets.set("openai", "sk-1")
    parameter = aws.client("ssm").get_parameter(Name=f"{path}/secrets/openai")["Parameter"]
    assert parameter["Type"] == "SecureString"
    assert parameter["Value"] != "sk-1"
    assert secrets.resolve("secret:openai") == "sk-1"


def test_a_value_is_known_for_five_minutes_at_most_and_a_new_one_at_once_where_it_is_set(secrets, path, clock):
    secrets.set("openai", "sk-1")
    assert secrets.resolve("secret:openai") == "sk-1"
    aws.client("ssm").put_parameter(Name=f"{path}/secrets/openai", Value="sk-2", Type="SecureString", Overwrite=True)
    clock.at += CACHED_SECONDS - 1
    assert secrets.resolve("secret:openai") == "sk-1"
    clock.at += 2
    assert secrets.resolve("secret:openai") == "sk-2"
    secrets.set("openai", "sk-3")
    assert secrets.resolve("secret:openai") == "sk-3"
    secrets.delete("openai")
    with pytest.raises(NotFound):
        secrets.resolve("secret:openai")


def test_a_long_value_may_be_replaced_by_a_short_one(secrets):
    """An advanced parameter can't become a standard one, so the tier is never named."""
    for value in ("x" * 8_192, "short"):
        secrets.set("openai", value)
        assert secrets.resolve("secret:openai") == value


def test_names_are_listed_without_values_and_none_of_another_stack(secrets):
    assert list(secrets.names()) == []
    for n in range(25):
        secrets.set(f"name-{n:02}", "value")
    secrets.ensure_master_key()
    SsmSecretStore(lambda: aws.client("ssm"), lambda: None, "/overnight/other").set("theirs", "x")
    assert list(secrets.names()) == [f"name-{n:02}" for n in range(25)]


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "-a", "a" * 65, "ä"])
def test_a_name_that_is_none_is_refused(secrets, name):
    with pytest.raises(Invalid, match="letters"):
        secrets.set(name, "x")


@pytest.mark.parametrize(("value", "says"), [("", "empty"), ("ä" * 4_097, "secretsmanager:ID")])
def test_a_value_that_can_not_be_kept_is_refused(secrets, value, says):
    with pytest.raises(Invalid, match=says):
        secrets.set("openai", value)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("secret:openai", "overnight secrets set openai"),
        ("secret:../openai", "overnight secrets set NAME"),
        ("ssm:/nowhere", "no parameter '/nowhere'"),
        ("secretsmanager:nowhere", "no secret 'nowhere' in Secrets Manager"),
        ("env:OPENAI_API_KEY", "overnight secrets set OPENAI_API_KEY"),
        ("vault:openai", "use secret:NAME"),
    ],
)
def test_what_is_not_there_is_not_found_and_says_how_to_set_it(secrets, reference, says):
    with pytest.raises(NotFound, match=says):
        secrets.resolve(reference)


def test_parameters_and_secrets_of_the_account_are_read(secrets, path):
    aws.client("ssm").put_parameter(Name=f"{path}-else/key", Value="p", Type="SecureString")
    assert secrets.resolve(f"ssm:{path}-else/key") == "p"
    name = aws.fresh("managed")
    aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"key": "k", "number": 1}))
    assert secrets.resolve(f"secretsmanager:{name}#key") == "k"
    assert json.loads(secrets.resolve(f"secretsmanager:{name}")) == {"key": "k", "number": 1}
    for field in ("absent", "number"):
        with pytest.raises(NotFound, match=field):
            secrets.resolve(f"secretsmanager:{name}#{field}")


@pytest.mark.parametrize(
    "reference", ["{}/master-key", "{}/master-key:1", "arn:aws:ssm:eu-central-1:1:parameter{}/master-key"]
)
def test_no_flow_is_given_the_master_key(secrets, path, reference):
    secrets.ensure_master_key()
    with pytest.raises(NotFound, match="Overnight's own"):
        secrets.resolve(f"ssm:{reference.format(path)}")


def test_keys_are_derived_from_the_master_key_which_no_deployment_replaces(secrets, path):
    with pytest.raises(Unavailable, match="deploy it again"):
        secrets.derive("hooks")
    secrets.ensure_master_key()
    key = secrets.derive("hooks")
    assert len(key) == 32
    assert key != secrets.derive("other")
    secrets.ensure_master_key()
    again = SsmSecretStore(lambda: aws.client("ssm"), lambda: None, path)
    assert again.derive("hooks") == key


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_what_ssm_refuses_is_unavailable_and_says_why(path, monkeypatch, code):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    client = faulty("ssm", [refused(code)] * 20)
    secrets = SsmSecretStore(lambda: client, lambda: None, path)
    with pytest.raises(Unavailable, match=rf"SSM: .*{code}"):
        secrets.resolve("secret:openai")
