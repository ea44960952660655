"""What is kept: one DynamoDB table, and a bucket of blobs by digest."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.settings import Settings
from overnight.aws.dynamodb import schema

__all__ = ["Storage"]


class Storage(Construct):
    """Table and bucket; both outlive the stack unless `retain_data` says otherwise.

    They are named, so that a stack that is deployed again can take them up (`cdk deploy --import-existing-resources`).
    """

    def __init__(self, scope: Construct, id_: str, settings: Settings, key: kms.IKey | None) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        removal = cdk.RemovalPolicy.RETAIN if settings.retain_data else cdk.RemovalPolicy.DESTROY
        self.table = dynamodb.TableV2(
            self,
            "Table",
            table_name=settings.name,
            partition_key=_text(schema.PK),
            sort_key=_text(schema.SK),
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=index.name,
                    partition_key=_text(index.pk),
                    sort_key=_text(index.sk),
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                )
                for index in schema.INDEXES
            ],
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(key)
            if key
            else dynamodb.TableEncryptionV2.dynamo_owned_key(),  # AWS's managed one bills each request
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=schema.TTL,
            deletion_protection=settings.protects_table,
            removal_policy=removal,
        )
        self.blobs = s3.Bucket(
            self,
            "Blobs",
            bucket_name=f"{settings.name.lower()}-{stack.account}-{stack.region}",
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=True if key else None,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,  # so that the sweep removes what it has looked at, and nothing that was put since
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
                    noncurrent_version_expiration=cdk.Duration.days(1),
                ),
            ],
            removal_policy=removal,
        )


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
