"""The store in one DynamoDB table; `schema` says what stands where."""

from overnight.aws.dynamodb.store import DynamoStore
from overnight.aws.dynamodb.table import Table

__all__ = ["DynamoStore", "Table"]
