"""Who may do what, and what is open to whom, read from the template."""

import json
from typing import Any

import pytest

LIGHT = ("api", "webhook", "tick", "events", "watchdog", "declare")
FUNCTIONS = (*LIGHT, "runner")
# No narrower resource exists for these; see infra/permissions.py.
ON_EVERYTHING = {"scheduler:ListSchedules"}
ON_EVERYTHING_IN_A_VPC = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in as_list(statement["Action"])}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("variant", ["stack", "switched"])
def test_no_action_is_a_wildcard_and_no_resource_is_everything(variant, function, request):
    statements = request.getfixturevalue(variant).policy(function)
    assert [action for action in actions(statements) if "*" in action] == []
    everything = actions([each for each in statements if "*" in as_list(each["Resource"])])
    assert everything <= ON_EVERYTHING | (ON_EVERYTHING_IN_A_VPC if variant == "switched" else set())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_may_scan_or_delete_what_is_kept(stack, function):
    refused = {"dynamodb:Scan", "dynamodb:DeleteTable", "dynamodb:UpdateTable", "s3:DeleteObject", "sqs:PurgeQueue"}
    assert actions(stack.policy(function)) & refused == set()


def test_every_function_has_a_role_of_its_own(stack):
    roles = [json.dumps(each["Role"]) for each in stack.properties("AWS::Lambda::Function")]
    assert len(set(roles)) == len(FUNCTIONS)
    assert [each for each in stack.properties("AWS::IAM::Role") if "Lambda" in str(each.get("ManagedPolicyArns"))] == []


def test_a_role_is_handed_to_scheduler_only(stack):
    passing = [
        (function, statement)
        for function in FUNCTIONS
        for statement in stack.policy(function)
        if "iam:PassRole" in as_list(statement["Action"])
    ]
    assert {function for function, _ in passing} == {"api", "watchdog", "declare"}
    for _, statement in passing:
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
        assert "SchedulingRole" in json.dumps(statement["Resource"])


def test_scheduler_may_call_tick_and_watchdog_for_this_accounts_groups_and_nothing_else(stack):
    role = stack.one("AWS::IAM::Role", "SchedulingRole")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    condition = trust["Condition"]["StringEquals"]
    assert condition["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}
    assert [
        "SchedulingDeclared" in str(each) or "SchedulingRuntime" in str(each) for each in condition["aws:SourceArn"]
    ] == [
        True,
        True,
    ]
    policy = stack.one("AWS::IAM::Policy", "SchedulingRole")["PolicyDocument"]["Statement"]
    assert actions(policy) == {"lambda:InvokeFunction"}
    called = json.dumps([each["Resource"] for each in policy])
    assert [name for name in FUNCTIONS if f"Functions{name.title()}" in called] == ["tick", "watchdog"]


def test_only_the_runner_reads_what_is_kept_outside_the_stack(switched):
    outside = {name for name in FUNCTIONS if "secretsmanager:GetSecretValue" in actions(switched.policy(name))}
    assert outside == {"runner"}


def test_queues_take_nothing_that_is_not_encrypted_on_its_way(stack):
    refused = [
        queue
        for policy in stack.properties("AWS::SQS::QueuePolicy")
        for queue in policy["Queues"]
        if any(
            statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            for statement in policy["PolicyDocument"]["Statement"]
        )
    ]
    assert len(refused) == len(stack.resources("AWS::SQS::Queue")) == 6


def test_blobs_are_private_and_encrypted(stack):
    bucket = stack.one("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["LifecycleConfiguration"]["Rules"][0]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert "aws:SecureTransport" in json.dumps(stack.one("AWS::S3::BucketPolicy"))


def test_the_management_api_takes_signed_requests_only_and_webhooks_one_path(stack):
    methods = {
        each["AuthorizationType"]: each["HttpMethod"]
        for id_, each in ((id_, each["Properties"]) for id_, each in stack.resources("AWS::ApiGateway::Method").items())
    }
    assert methods == {"AWS_IAM": "ANY", "NONE": "POST"}
    public = [
        id_
        for id_, each in stack.resources("AWS::ApiGateway::Method").items()
        if each["Properties"]["AuthorizationType"] == "NONE"
    ]
    assert len(public) == 1
    assert "Webhooks" in public[0]


def test_a_reader_reads_and_an_operator_does_everything(stack):
    reader = stack.one("AWS::IAM::ManagedPolicy", "Reader")["PolicyDocument"]["Statement"]
    find, read = reader
    assert (find["Action"], find["Resource"]) == ("cloudformation:DescribeStacks", {"Ref": "AWS::StackId"})
    assert read["Action"] == "execute-api:Invoke"
    assert "/prod/GET/*" in json.dumps(read["Resource"])
    operator = stack.one("AWS::IAM::ManagedPolicy", "Operator")["PolicyDocument"]["Statement"]
    assert actions(operator) == actions(reader) | {"sqs:SendMessage", "events:PutEvents"}


def test_no_secret_is_in_the_template(stack):
    for function in stack.properties("AWS::Lambda::Function"):
        told = set(function["Environment"]["Variables"])
        assert {name for name in told if not name.startswith("OVERNIGHT_")} == set()
    assert "AWS::SecretsManager::Secret" not in {each["Type"] for each in stack.template["Resources"].values()}


def test_a_boundary_bounds_every_role(switched):
    roles = switched.properties("AWS::IAM::Role")
    assert [role for role in roles if "policy/bounds" not in json.dumps(role.get("PermissionsBoundary"))] == []
