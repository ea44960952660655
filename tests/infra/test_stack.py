"""What the stack consists of, and how its parts fit: read from the template, with defaults and with all switches."""

import json

import pytest

FEED_THEMSELVES = {"Tick", "Events", "Runner"}
FUNCTIONS = {"Api", "Webhook", "Tick", "Events", "Watchdog", "Declare", "Runner"}


def function_name(logical_id: str) -> str:
    return next(name for name in FUNCTIONS if logical_id.startswith(f"Functions{name}"))


def functions(synthesised):
    return {
        function_name(id_): each["Properties"] for id_, each in synthesised.resources("AWS::Lambda::Function").items()
    }


# What it keeps


def test_the_table_is_on_demand_recoverable_protected_and_retained(stack):
    (table,) = stack.resources("AWS::DynamoDB::GlobalTable").values()
    said = table["Properties"]
    (replica,) = said["Replicas"]
    assert said["BillingMode"] == "PAY_PER_REQUEST"
    assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert said["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert replica["DeletionProtectionEnabled"] is True
    assert table["DeletionPolicy"] == "Retain"
    assert {each["Projection"]["ProjectionType"] for each in said["GlobalSecondaryIndexes"]} == {"KEYS_ONLY"}


def test_a_key_of_ones_own_encrypts_table_blobs_queues_and_topic(stack, switched):
    """Without one, AWS's own keys do, and cost nothing."""
    key = "12345678-1234-1234-1234-123456789012"
    kinds = (
        "AWS::DynamoDB::GlobalTable",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
        "AWS::SNS::Topic",
        "AWS::Events::EventBus",
    )
    for kind in kinds:
        assert all(key in json.dumps(each) for each in switched.properties(kind)), kind
    assert {each["SqsManagedSseEnabled"] for each in stack.properties("AWS::SQS::Queue")} == {True}
    for function in FUNCTIONS:
        allowed = [each for each in switched.policy(function) if key in json.dumps(each["Resource"])]
        assert {"kms:Decrypt", "kms:GenerateDataKey"} <= {action for each in allowed for action in each["Action"]}


def test_without_retain_data_nothing_is_protected(switched):
    (table,) = switched.resources("AWS::DynamoDB::GlobalTable").values()
    assert table["DeletionPolicy"] == "Delete"
    assert table["Properties"]["Replicas"][0]["DeletionProtectionEnabled"] is False
    (bucket,) = switched.resources("AWS::S3::Bucket").values()
    assert bucket["DeletionPolicy"] == "Delete"


def test_schedule_groups_have_stable_names_and_go_with_the_stack(stack, switched):
    assert {each["Name"] for each in stack.properties("AWS::Scheduler::ScheduleGroup")} == {
        "overnight-declared",
        "overnight-runtime",
    }
    assert {each["Name"] for each in switched.properties("AWS::Scheduler::ScheduleGroup")} == {
        "night-shift-declared",
        "night-shift-runtime",
    }
    assert {each["DeletionPolicy"] for each in stack.resources("AWS::Scheduler::ScheduleGroup").values()} == {"Delete"}


def test_logs_are_kept_for_as_long_as_said_and_go_with_the_stack(stack, switched):
    for synthesised, days in ((stack, 30), (switched, 7)):
        groups = synthesised.resources("AWS::Logs::LogGroup").values()
        assert {each["Properties"]["RetentionInDays"] for each in groups} == {days}
        assert {each["DeletionPolicy"] for each in groups} == {"Delete"}
    assert all("LogGroup" in each["LoggingConfig"] for each in functions(stack).values())


# Messages


def test_only_poison_reaches_the_dead_letters_and_outlives_its_queue_there(stack):
    queues = stack.resources("AWS::SQS::Queue")
    sources = [each["Properties"] for each in queues.values() if "RedrivePolicy" in each["Properties"]]
    dead = stack.one("AWS::SQS::Queue", "DeadLetters")
    assert len(sources) == 4
    assert {each["RedrivePolicy"]["maxReceiveCount"] for each in sources} == {50}
    assert {each["MessageRetentionPeriod"] < dead["MessageRetentionPeriod"] for each in sources} == {True}


@pytest.mark.parametrize("variant", ["stack", "switched"])
def test_a_message_stays_hidden_for_as_long_as_its_function_may_run(variant, request):
    synthesised = request.getfixturevalue(variant)
    queues = synthesised.resources("AWS::SQS::Queue")
    for mapping in synthesised.properties("AWS::Lambda::EventSourceMapping"):
        queue = queues[mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        name = next(name for name in FUNCTIONS if f"Functions{name}" in json.dumps(mapping["FunctionName"]))
        assert queue["VisibilityTimeout"] > functions(synthesised)[name]["Timeout"]


def test_each_mapping_reports_failures_one_by_one_and_runs_come_alone(stack):
    mappings = stack.properties("AWS::Lambda::EventSourceMapping")
    assert {tuple(each["FunctionResponseTypes"]) for each in mappings} == {("ReportBatchItemFailures",)}
    runs = [each for each in mappings if "Runner" in json.dumps(each["FunctionName"])]
    assert [(each["BatchSize"], each["ScalingConfig"]) for each in runs] == [(1, {"MaximumConcurrency": 10})] * 2


def test_every_event_on_the_bus_comes_to_the_events_queue(stack):
    rule = stack.one("AWS::Events::Rule")
    assert rule["EventPattern"] == {"account": [{"Ref": "AWS::AccountId"}]}
    (target,) = rule["Targets"]
    assert "MessagingEvents" in json.dumps(target["Arn"])
    assert "MessagingFailures" in json.dumps(target["DeadLetterConfig"])


def test_buckets_and_topics_send_to_the_events_queue_only_where_they_are_named(stack, switched):
    def senders(synthesised):
        return [
            (statement["Principal"]["Service"], condition.get("aws:SourceArn"))
            for policy in synthesised.properties("AWS::SQS::QueuePolicy")
            for statement in policy["PolicyDocument"]["Statement"]
            if "MessagingEvents" in json.dumps(policy["Queues"]) and statement["Effect"] == "Allow"
            for condition in statement["Condition"].values()
        ]

    assert {service for service, _ in senders(stack)} == {"events.amazonaws.com"}
    named = {
        ("s3.amazonaws.com", "arn:aws:s3:::uploads"),
        ("sns.amazonaws.com", "arn:aws:sns:eu-west-1:123456789012:news"),
    }
    assert {each for each in senders(switched) if isinstance(each[1], str)} == named


# Functions


def test_functions_run_on_arm_and_python_3_13_unless_told_otherwise(stack, switched):
    assert {(each["Runtime"], *each["Architectures"]) for each in functions(stack).values()} == {
        ("python3.13", "arm64")
    }
    assert {(each["Runtime"], *each["Architectures"]) for each in functions(switched).values()} == {
        ("python3.13", "x86_64")
    }


def test_what_feeds_itself_is_no_runaway_loop_to_lambda(stack):
    assert {name for name, each in functions(stack).items() if each.get("RecursiveLoop") == "Allow"} == FEED_THEMSELVES


def test_what_is_called_without_a_queue_is_not_tried_again_and_its_failures_are_kept(stack):
    configs = stack.properties("AWS::Lambda::EventInvokeConfig")
    assert {function_name(each["FunctionName"]["Ref"]) for each in configs} == {"Tick", "Watchdog", "Declare"}
    assert {each["MaximumRetryAttempts"] for each in configs} == {0}
    assert all("MessagingFailures" in json.dumps(each["DestinationConfig"]["OnFailure"]) for each in configs)


def test_the_runner_takes_no_layer_and_the_others_one(stack):
    assert {name: len(each.get("Layers", [])) for name, each in functions(stack).items()} == {
        name: 0 if name == "Runner" else 1 for name in FUNCTIONS
    }


def test_light_functions_have_20_seconds_and_the_runner_what_is_said(stack, switched):
    for synthesised, runner in ((stack, (900, 2_048)), (switched, (120, 1_024))):
        found = functions(synthesised)
        assert (found["Runner"]["Timeout"], found["Runner"]["MemorySize"]) == runner
        assert {found[name]["Timeout"] for name in FUNCTIONS - {"Runner", "Declare"}} == {20}


def test_who_arms_schedules_knows_what_they_call_and_in_which_role(stack):
    told = {name for name, each in functions(stack).items() if "OVERNIGHT_TICK_ARN" in each["Environment"]["Variables"]}
    assert told == {"Api", "Watchdog", "Declare"}


def test_with_snapstart_every_source_names_the_alias(switched):
    runs = [
        each["FunctionName"]
        for each in switched.properties("AWS::Lambda::EventSourceMapping")
        if "Runner" in json.dumps(each["FunctionName"])
    ]
    assert len(runs) == 2
    assert all("FunctionsRunnerLive" in json.dumps(each) for each in runs)
    assert functions(switched)["Runner"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}


def test_an_image_is_built_only_when_it_is_asked_for(synthesised, stack):
    image = synthesised(runner_package="image")
    assert functions(image)["Runner"]["PackageType"] == "Image"
    assert {each.get("PackageType") for each in functions(stack).values()} == {None}


def test_in_a_vpc_every_function_is_in_it(switched):
    where = {json.dumps(each["VpcConfig"], sort_keys=True) for each in functions(switched).values()}
    assert len(where) == 1
    assert "subnet-12345678" in where.pop()


# The APIs


def test_webhooks_come_as_the_bytes_that_were_sent_and_not_too_many_at_once(stack, switched):
    api = stack.one("AWS::ApiGateway::RestApi", "Webhooks")
    assert api["BinaryMediaTypes"] == ["*/*"]
    for synthesised, limits in ((stack, (50, 100)), (switched, (5, 6))):
        (settings,) = synthesised.one("AWS::ApiGateway::Stage", "Webhooks")["MethodSettings"]
        assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == limits


def test_access_logs_can_be_switched_off_with_the_accounts_role_for_them(stack, switched):
    assert all("AccessLogSetting" in each for each in stack.properties("AWS::ApiGateway::Stage"))
    (account,) = stack.resources("AWS::ApiGateway::Account").values()
    assert account["DeletionPolicy"] == "Retain"
    assert switched.resources("AWS::ApiGateway::Account") == {}
    assert not any("AccessLogSetting" in each for each in switched.properties("AWS::ApiGateway::Stage"))


# Alarms


def test_the_watchdogs_silence_is_an_alarm(stack):
    alarm = stack.one("AWS::CloudWatch::Alarm", "WatchdogSilent")
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    schedule = stack.one("AWS::Scheduler::Schedule", "SchedulingWatchdog")
    assert schedule["ScheduleExpression"] == "rate(1 minute)"


def test_failed_executions_poison_waiting_messages_errors_and_throttles_are_alarms(stack):
    alarms = stack.resources("AWS::CloudWatch::Alarm")
    names = [id_.removeprefix("Observability") for id_ in alarms]
    expected = {"Failed", "Poison", "Failures", "RunWaits", "RetryWaits", "FireWaits", "EventsWaits", "Throttles"}
    expected |= {f"{name}Errors" for name in FUNCTIONS} | {"WatchdogSilent"}
    assert {name for name in expected if not any(each.startswith(name) for each in names)} == set()
    assert all(each["Properties"]["AlarmActions"] for each in alarms.values())
    assert all(each["Properties"]["AlarmDescription"] for each in alarms.values())


def test_alarms_go_to_the_address_and_can_be_switched_off(switched, synthesised):
    assert subscribed(switched, "Observability") == ["ops@example.com"]
    quiet = synthesised(runner_package="image", alarms=False)
    assert quiet.resources("AWS::CloudWatch::Alarm") == {}
    assert [id_ for id_ in quiet.resources("AWS::SNS::Topic") if "Observability" in id_] == []


def subscribed(stack, part):
    subscriptions = stack.resources("AWS::SNS::Subscription")
    return [each["Properties"]["Endpoint"] for id_, each in subscriptions.items() if id_.startswith(part)]


def test_notifications_go_to_a_topic_and_to_an_address_where_one_is_named(stack, switched):
    assert "MessagingNotifications" in json.dumps(stack.template["Outputs"]["NotificationsTopicArn"])
    assert (subscribed(stack, "Messaging"), subscribed(switched, "Messaging")) == ([], ["dev@example.com"])


def test_no_metric_has_an_agent_or_an_execution_as_a_dimension(stack):
    dimensions = {
        dimension["Name"]
        for alarm in stack.properties("AWS::CloudWatch::Alarm")
        for metric in [
            alarm,
            *(each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each),
        ]
        for dimension in metric.get("Dimensions", [])
    }
    assert dimensions == {"FunctionName", "QueueName", "service"}


# Outputs, and what stays the same


def test_what_people_need_is_put_out(stack):
    assert set(stack.template["Outputs"]) >= {"ApiUrl", "WebhooksUrl", "EventsQueueUrl", "BusName"}


def test_tags_are_the_stacks_and_so_all_its_resources(switched):
    manifest = json.loads((switched.path.parent / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["artifacts"]["night-shift"]["properties"]["tags"] == {"team": "data"}


def test_the_same_tree_makes_the_same_template(stack, tmp_path):
    """So that `cdk diff` is empty, and nothing is deployed for nothing."""
    from tests.infra.conftest import AGENTS, synthesise  # noqa: PLC0415

    assert synthesise(tmp_path, {"agents": str(AGENTS)}).template == stack.template
