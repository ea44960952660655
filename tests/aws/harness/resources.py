"""How each type of resource is made: on moto, where something is kept there; else noted, for the harness to act on."""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from tests.aws.harness.account import REGION, Account
from tests.aws.harness.cloudformation import Cloud, Failed, Made
from tests.aws.harness.functions import Function, FunctionError, Lambda
from tests.aws.harness.responses import Responses

__all__ = ["kinds"]

Properties = Mapping[str, Any]


class Noted:
    """A resource that is only remembered: by a name, with an ARN and whatever else others ask of it."""

    def __init__(self, name: Callable[[str, Properties], str], **attributes: Callable[[str], str]) -> None:
        self._name = name
        self._attributes = attributes

    def create(self, logical: str, properties: Properties) -> Made:
        name = self._name(logical, properties)
        return Made(name, {attribute.replace("_", "."): make(name) for attribute, make in self._attributes.items()})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        return self.create(logical, properties)

    def delete(self, logical: str, made: Made, properties: Properties) -> None: ...


class _OnMoto:
    """A resource that moto keeps; one that can't be changed is replaced."""

    service: str

    def __init__(self, account: Account) -> None:
        self.account = account

    @property
    def api(self) -> Any:
        """The service's client."""
        return self.account.client(self.service)

    def create(self, logical: str, properties: Properties) -> Made:
        raise NotImplementedError

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        raise NotImplementedError(f"the harness does not update {logical}")

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        raise NotImplementedError


class Table(_OnMoto):
    service = "dynamodb"

    def create(self, logical: str, properties: Properties) -> Made:
        name = properties["TableName"]
        (replica,) = properties["Replicas"]
        try:
            self.api.create_table(
                TableName=name,
                BillingMode=properties["BillingMode"],
                AttributeDefinitions=properties["AttributeDefinitions"],
                KeySchema=properties["KeySchema"],
                GlobalSecondaryIndexes=properties["GlobalSecondaryIndexes"],
                DeletionProtectionEnabled=replica.get("DeletionProtectionEnabled", False),
                **({"StreamSpecification": s} if (s := properties.get("StreamSpecification")) else {}),
            )
        except ClientError as error:
            raise Failed(str(error)) from error
        self.api.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
        return self._made(name)

    def take_up(self, properties: Properties) -> Made | None:
        """A table that an earlier stack has left: `cdk deploy --import-existing-resources`."""
        there = properties["TableName"] in self.api.list_tables()["TableNames"]
        return self._made(properties["TableName"]) if there else None

    def _made(self, name: str) -> Made:
        return Made(name, {"Arn": self.account.arn("dynamodb", f"table/{name}")})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        (replica,) = properties["Replicas"]
        protected = replica.get("DeletionProtectionEnabled", False)
        self.api.update_table(TableName=made.ref, DeletionProtectionEnabled=protected)
        return made

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        self.api.delete_table(TableName=made.ref)


class Bucket(_OnMoto):
    service = "s3"

    def create(self, logical: str, properties: Properties) -> Made:
        name = properties["BucketName"]
        try:
            self.api.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        except ClientError as error:
            raise Failed(str(error)) from error
        self.api.put_bucket_versioning(Bucket=name, VersioningConfiguration=properties["VersioningConfiguration"])
        return self._made(name)

    def take_up(self, properties: Properties) -> Made | None:
        """A bucket that an earlier stack has left."""
        there = properties["BucketName"] in [each["Name"] for each in self.api.list_buckets()["Buckets"]]
        return self._made(properties["BucketName"]) if there else None

    @staticmethod
    def _made(name: str) -> Made:
        return Made(name, {"Arn": f"arn:aws:s3:::{name}"})

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        if self.api.list_object_versions(Bucket=made.ref).get("Versions"):
            raise Failed("the bucket is not empty", made.ref)
        self.api.delete_bucket(Bucket=made.ref)


class Queue(_OnMoto):
    service = "sqs"

    def create(self, logical: str, properties: Properties) -> Made:
        name = properties.get("QueueName") or f"overnight-{logical}-{_suffix(logical)}"
        url = self.api.create_queue(QueueName=name, Attributes=_attributes(properties))["QueueUrl"]
        return Made(url, {"Arn": self.account.arn("sqs", name), "QueueName": name})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        self.api.set_queue_attributes(QueueUrl=made.ref, Attributes=_attributes(properties))
        return made

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        self.api.delete_queue(QueueUrl=made.ref)


def _attributes(properties: Properties) -> dict[str, str]:
    left_out = {"QueueName", "Tags"}
    return {
        name: json.dumps(value)
        if isinstance(value, dict)
        else str(value).lower()
        if value in (True, False)
        else str(value)
        for name, value in properties.items()
        if name not in left_out
    }


class QueuePolicy(_OnMoto):
    service = "sqs"

    def create(self, logical: str, properties: Properties) -> Made:
        for url in properties["Queues"]:
            policy = json.dumps(properties["PolicyDocument"])
            self.api.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return Made(logical)

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        return self.create(logical, properties)

    def delete(self, logical: str, made: Made, properties: Properties) -> None: ...


class Bus(_OnMoto):
    service = "events"

    def create(self, logical: str, properties: Properties) -> Made:
        name = properties["Name"]
        self.api.create_event_bus(Name=name)
        return Made(name, {"Arn": self.account.arn("events", f"event-bus/{name}"), "Name": name})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        return made

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        self.api.delete_event_bus(Name=made.ref)


class Rule(_OnMoto):
    service = "events"

    def create(self, logical: str, properties: Properties) -> Made:
        bus, name = properties["EventBusName"], properties.get("Name") or f"overnight-{logical}"
        pattern = json.dumps(properties["EventPattern"])
        self.api.put_rule(Name=name, EventBusName=bus, EventPattern=pattern, State=properties["State"])
        self.api.put_targets(Rule=name, EventBusName=bus, Targets=properties["Targets"])
        return Made(f"{bus}|{name}", {"Arn": self.account.arn("events", f"rule/{bus}/{name}")})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        return self.create(logical, properties)

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        bus, name = made.ref.split("|")
        targets = [target["Id"] for target in properties["Targets"]]
        self.api.remove_targets(Rule=name, EventBusName=bus, Ids=targets)
        self.api.delete_rule(Name=name, EventBusName=bus)


class ScheduleGroup(_OnMoto):
    service = "scheduler"

    def create(self, logical: str, properties: Properties) -> Made:
        name = properties["Name"]
        arn = self.api.create_schedule_group(Name=name)["ScheduleGroupArn"]
        return Made(name, {"Arn": arn})

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        self.api.delete_schedule_group(Name=made.ref)  # and every schedule in it, as on AWS


class Schedule(_OnMoto):
    service = "scheduler"

    def create(self, logical: str, properties: Properties) -> Made:
        name = self._name(logical, properties)
        try:
            arn = self.api.create_schedule(**properties | {"Name": name})["ScheduleArn"]
        except ClientError as error:
            raise Failed(str(error)) from error
        return Made(name, {"Arn": arn})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        if self._name(logical, properties) != made.ref:
            return self.create(logical, properties)
        self.api.update_schedule(**{"State": "ENABLED", **properties, "Name": made.ref})
        return made

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        self.api.delete_schedule(Name=made.ref, GroupName=properties["GroupName"])

    @staticmethod
    def _name(logical: str, properties: Properties) -> str:
        return properties.get("Name") or f"overnight-{logical}"[:64]


class Topic(_OnMoto):
    service = "sns"

    def create(self, logical: str, properties: Properties) -> Made:
        name = properties.get("TopicName") or f"overnight-{logical}"
        arn = self.api.create_topic(Name=name)["TopicArn"]
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        return made

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        self.api.delete_topic(TopicArn=made.ref)


class Functions:
    """Lambda's functions, by their logical id: `FunctionsTick…` is functions/tick."""

    def __init__(self, world: Lambda, there: dict[str, Function]) -> None:
        self._world = world
        self._there = there

    def create(self, logical: str, properties: Properties) -> Made:
        name = _name_of_function(logical)
        arn = self._world.account.arn("lambda", f"function:{name}")
        self._there[arn] = Function(self._world, name, arn, properties)
        return Made(name, {"Arn": arn})

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        self._there[made.attributes["Arn"]].change(properties)
        return made

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        del self._there[made.attributes["Arn"]]


def _name_of_function(logical: str) -> str:
    from tests.aws.harness.functions import ROOT  # noqa: PLC0415

    (name,) = (
        each.name for each in (ROOT / "functions").iterdir() if logical.startswith(f"Functions{each.name.title()}")
    )
    return name


class Custom:
    """A custom resource: its function is asked, and answers to a URL."""

    def __init__(
        self, cloud: Cloud, account: Account, functions: Mapping[str, Function], responses: Responses, kind: str
    ) -> None:
        self._cloud = cloud
        self._account = account
        self._functions = functions
        self._responses = responses
        self._kind = kind

    def create(self, logical: str, properties: Properties) -> Made:
        return self._ask("Create", logical, properties)

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        return self._ask("Update", logical, properties, made.ref, before)

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        self._ask("Delete", logical, properties, made.ref)

    def _ask(
        self,
        request: str,
        logical: str,
        properties: Properties,
        ref: str | None = None,
        before: Properties | None = None,
    ) -> Made:
        sent = {
            "RequestType": request,
            "ResourceType": self._kind,
            "ResponseURL": self._responses.url,
            "StackId": f"arn:aws:cloudformation:{REGION}:{self._account.id}:stack/{self._cloud.name}/1",
            "RequestId": str(uuid.uuid4()),
            "LogicalResourceId": logical,
            "ResourceProperties": _texts({k: v for k, v in properties.items() if k != "ServiceTimeout"}),
        }
        if ref is not None:
            sent["PhysicalResourceId"] = ref
        if before is not None:
            sent["OldResourceProperties"] = _texts(dict(before))
        try:
            self._functions[properties["ServiceToken"]].invoke(sent)
        except FunctionError as error:
            raise Failed(f"no answer: {error}") from error
        answer = self._responses.take(sent["RequestId"])
        assert {answer[key] == sent[key] for key in ("StackId", "RequestId", "LogicalResourceId")} == {True}
        if answer["Status"] != "SUCCESS":
            raise Failed(answer["Reason"], answer["PhysicalResourceId"])
        return Made(answer["PhysicalResourceId"], answer.get("Data", {}))


def _texts(value: Any) -> Any:
    """CloudFormation hands every number and truth on as text."""
    if isinstance(value, dict):
        return {key: _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _suffix(logical: str) -> str:
    return hashlib.sha256(logical.encode()).hexdigest()[:8]


def kinds(
    cloud: Callable[[], Cloud], account: Account, world: Lambda, functions: dict[str, Function], responses: Responses
) -> dict[str, Any]:
    """How the resources of each type are made."""

    def by_logical(logical: str, _: Properties) -> str:
        return logical

    def named(attribute: str) -> Callable[[str, Properties], str]:
        return lambda logical, properties: str(properties.get(attribute) or f"overnight-{logical}")

    def arn(service: str, kind: str = "") -> Callable[[str], str]:
        return lambda name: account.arn(service, f"{kind}{name}")

    def global_arn(service: str, kind: str) -> Callable[[str], str]:
        return lambda name: account.arn(service, f"{kind}{name}", region="")

    noted = Noted(by_logical)
    return {
        "AWS::DynamoDB::GlobalTable": Table(account),
        "AWS::S3::Bucket": Bucket(account),
        "AWS::S3::BucketPolicy": noted,
        "AWS::SQS::Queue": Queue(account),
        "AWS::SQS::QueuePolicy": QueuePolicy(account),
        "AWS::Events::EventBus": Bus(account),
        "AWS::Events::Rule": Rule(account),
        "AWS::Scheduler::ScheduleGroup": ScheduleGroup(account),
        "AWS::Scheduler::Schedule": Schedule(account),
        "AWS::Lambda::Function": Functions(world, functions),
        "AWS::Lambda::LayerVersion": noted,
        "AWS::Lambda::EventSourceMapping": noted,
        "AWS::Lambda::EventInvokeConfig": noted,
        "AWS::Lambda::Permission": noted,
        "AWS::IAM::Role": Noted(named("RoleName"), Arn=global_arn("iam", "role/")),
        "AWS::IAM::Policy": noted,
        "AWS::IAM::ManagedPolicy": Noted(lambda logical, _: account.arn("iam", f"policy/{logical}", region="")),
        "AWS::Logs::LogGroup": Noted(
            named("LogGroupName"), Arn=lambda name: account.arn("logs", f"log-group:{name}:*")
        ),
        "AWS::ApiGateway::RestApi": Noted(_api_id, RootResourceId=lambda name: f"{name}-root"),
        "AWS::ApiGateway::Resource": noted,
        "AWS::ApiGateway::Method": noted,
        "AWS::ApiGateway::Deployment": noted,
        "AWS::ApiGateway::Stage": Noted(named("StageName")),
        "AWS::ApiGateway::Account": noted,
        "AWS::ApiGateway::GatewayResponse": noted,
        "AWS::CloudWatch::Alarm": Noted(named("AlarmName"), Arn=arn("cloudwatch", "alarm:")),
        "AWS::SNS::Topic": Topic(account),
        "AWS::SNS::Subscription": noted,
        "AWS::SNS::TopicPolicy": noted,
        **{
            kind: Custom(cloud(), account, functions, responses, kind)
            for kind in ("Custom::OvernightAgent", "Custom::OvernightDeployment")
        },
    }


def _api_id(logical: str, _: Properties) -> str:
    return hashlib.sha256(logical.encode()).hexdigest()[:10]
