"""The table as its adapters use it: reads are consistent, a write that is refused tells what is there instead.

What DynamoDB throttles, botocore tries again with jitter, a bounded number of times; what then still fails is
Unavailable.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from overnight.aws.dynamodb.schema import PK, SK, Index
from overnight.aws.dynamodb.tries import tries
from overnight.aws.dynamodb.values import Item, Value, marshalled, unmarshalled
from overnight.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["MARK", "Cancelled", "Check", "Condition", "Delete", "Key", "Put", "Refused", "Table", "Update"]

MARK = "mark"
"""An attribute by which whoever wrote an item knows it for its own: the same content can be another's."""

Key = tuple[str, str]
"""Partition key and sort key."""

_TOO_LARGE = "is larger than DynamoDB keeps in one record, 400 KB"

_BATCH = 100
_BATCH_ROUNDS = 8


class Condition(NamedTuple):
    """What must hold of the item that is written: an expression over `#attribute` and `:value`."""

    expression: str
    values: Mapping[str, Value] = {}


class Refused(Exception):
    """The condition of a write does not hold; `found` is the item that is there, None where there is none."""

    def __init__(self, found: Item | None) -> None:
        self.found = found
        super().__init__("the condition does not hold")


class Cancelled(Exception):
    """A transaction was cancelled; `reasons` has a code for each of its writes, None for those that were fine."""

    def __init__(self, reasons: Sequence[str | None]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(f"the transaction was cancelled: {self.reasons}")

    @property
    def contended(self) -> bool:
        """Whether it may go through the next time, once what it was made from is read again."""
        return _CONTENTION.issuperset(self.reasons)


_CONTENTION = frozenset(
    {None, "ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
)


class _Contended(Exception):
    """A transaction has the item just now."""


class Put(NamedTuple):
    """An item to be put by a transaction."""

    item: Item
    condition: Condition | None = None


class Update(NamedTuple):
    """An item some of whose attributes are put and dropped, by a transaction or by itself."""

    key: Key
    put: Item
    drop: Sequence[str] = ()
    condition: Condition | None = None


class Delete(NamedTuple):
    """An item to be deleted by a transaction."""

    key: Key
    condition: Condition | None = None


class Check(NamedTuple):
    """An item that a transaction looks at."""

    key: Key
    condition: Condition


class Table:
    """One table, by its name."""

    def __init__(self, connect: "Callable[[], DynamoDBClient]", name: str) -> None:
        self._connect = connect
        self._name = name

    # Reading

    def get(self, key: Key) -> Item | None:
        """The item of that key."""
        with _answered():
            answer = self._connect().get_item(TableName=self._name, Key=_key(key), ConsistentRead=True)
        return unmarshalled(answer["Item"]) if "Item" in answer else None

    def get_each(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """The items of these keys, as far as they are there."""
        wanted = [_key(key) for key in dict.fromkeys(keys)]
        found: dict[Key, Item] = {}
        for start in range(0, len(wanted), _BATCH):
            rest: Any = {self._name: {"Keys": wanted[start : start + _BATCH], "ConsistentRead": True}}
            for _ in range(_BATCH_ROUNDS):
                with _answered():
                    answer = self._connect().batch_get_item(RequestItems=rest)
                for raw in answer["Responses"].get(self._name, []):
                    item = unmarshalled(raw)
                    found[str(item[PK]), str(item[SK])] = item
                rest = answer.get("UnprocessedKeys")
                if not rest:
                    break
            else:
                raise Unavailable("DynamoDB is throttling reads; try again later")
        return found

    def query(
        self,
        pk: str,
        *,
        index: Index | None = None,
        low: str | None = None,
        high: str | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        after: Item | None = None,
    ) -> Iterator[Item]:
        """Items of a partition in order of their sort key, read page by page.

        Args:
            pk: the partition.
            index: of this index, whose reads are eventually consistent; else of the table.
            low: sort keys from here on.
            high: sort keys up to here, inclusive.
            newest_first: in descending order.
            limit: at most so many, read as one page.
            after: where an earlier query ended: an item of the index.
        """
        request = self._query(pk, index, low, high, newest_first=newest_first)
        if limit is not None:
            request["Limit"] = limit
        if after is not None:
            keys = {PK, SK, *((index.pk, index.sk) if index else ())}
            request["ExclusiveStartKey"] = marshalled({name: after[name] for name in keys})
        left = limit
        while True:
            with _answered():
                page = self._connect().query(**request)
            for raw in page["Items"]:
                yield unmarshalled(raw)
            if left is not None:
                left -= len(page["Items"])
            if "LastEvaluatedKey" not in page or left == 0:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _query(
        self, pk: str, index: Index | None, low: str | None, high: str | None, *, newest_first: bool
    ) -> dict[str, Any]:
        condition, values = "#pk = :pk", {":pk": pk}
        match low, high:
            case str(), str():
                condition += " AND #sk BETWEEN :low AND :high"
                values |= {":low": low, ":high": high}
            case str(), None:
                condition += " AND #sk >= :low"
                values[":low"] = low
            case None, str():
                condition += " AND #sk <= :high"
                values[":high"] = high
        names = {"#pk": index.pk if index else PK}
        if "#sk" in condition:
            names["#sk"] = index.sk if index else SK
        request: dict[str, Any] = {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items()},
            "ScanIndexForward": not newest_first,
        }
        return request | ({"IndexName": index.name} if index else {"ConsistentRead": True})

    # Writing

    @staticmethod
    def mark() -> str:
        """A mark that nobody else has."""
        return secrets.token_hex(4)

    def put(self, item: Item, condition: Condition | None = None) -> None:
        """Put an item. Raises Refused.

        An item with a mark that a retry finds to be there already, because an answer was lost, was put.
        """
        request = {"Item": marshalled(item), **_condition(condition), **_telling(condition)}
        try:
            self._write(lambda: self._connect().put_item(TableName=self._name, **request))
        except Refused as refused:
            if MARK not in item or refused.found is None or refused.found.get(MARK) != item[MARK]:
                raise

    def update(self, key: Key, *, put: Item, drop: Iterable[str] = (), condition: Condition | None = None) -> None:
        """Put and drop attributes of an item. Raises Refused."""
        request = {**_update(Update(key, put, tuple(drop), condition)), **_telling(condition)}
        self._write(lambda: self._connect().update_item(TableName=self._name, **request))

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        """Delete an item, if it is there. Raises Refused."""
        request = {"Key": _key(key), **_condition(condition), **_telling(condition)}
        self._write(lambda: self._connect().delete_item(TableName=self._name, **request))

    def transact(self, writes: Iterable[Put | Update | Delete | Check]) -> None:
        """Carry out up to a hundred writes as one. Raises Cancelled."""
        with _answered():
            self._connect().transact_write_items(TransactItems=[self._part(write) for write in writes])

    def _write(self, call: Callable[[], object]) -> None:
        for _ in tries("an item in a transaction"):
            try:
                with _answered():
                    call()
            except _Contended:
                continue
            return

    def _part(self, write: Put | Update | Delete | Check) -> Any:
        match write:
            case Put(item, condition):
                return {"Put": {"TableName": self._name, "Item": marshalled(item), **_condition(condition)}}
            case Update():
                return {"Update": {"TableName": self._name, **_update(write)}}
            case Delete(key, condition):
                return {"Delete": {"TableName": self._name, "Key": _key(key), **_condition(condition)}}
            case Check(key, condition):
                return {"ConditionCheck": {"TableName": self._name, "Key": _key(key), **_condition(condition)}}


def _key(key: Key) -> dict[str, Any]:
    return {PK: {"S": key[0]}, SK: {"S": key[1]}}


def _update(update: Update) -> dict[str, Any]:
    clauses = []
    if update.put:
        clauses.append("SET " + ", ".join(f"#{name} = :{name}_" for name in update.put))
    if update.drop:
        clauses.append("REMOVE " + ", ".join(f"#{name}" for name in update.drop))
    names = {f"#{name}": name for name in (*update.put, *update.drop)}
    values = {f"{name}_": value for name, value in update.put.items()}
    request = {"Key": _key(update.key), "UpdateExpression": " ".join(clauses)}
    return request | _condition(update.condition, names, values)


def _condition(
    condition: Condition | None, names: dict[str, str] | None = None, values: dict[str, Value] | None = None
) -> dict[str, Any]:
    names, values = dict(names or {}), dict(values or {})
    request: dict[str, Any] = {}
    if condition is not None:
        request["ConditionExpression"] = condition.expression
        names |= {f"#{name}": name for name in re.findall(r"#(\w+)", condition.expression)}
        values |= condition.values
    if names:
        request["ExpressionAttributeNames"] = names
    if values:
        request["ExpressionAttributeValues"] = {f":{name}": value for name, value in marshalled(values).items()}
    return request


def _telling(condition: Condition | None) -> dict[str, Any]:
    return {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if condition else {}


@contextmanager
def _answered() -> Iterator[None]:
    """What goes wrong on the way, in our words."""
    try:
        yield
    except ClientError as error:
        response: Any = error.response
        code, message = response["Error"]["Code"], response["Error"].get("Message", "")
        if code == "ConditionalCheckFailedException":
            found = response.get("Item")
            raise Refused(unmarshalled(found) if found else None) from None
        if code == "TransactionCanceledException":
            reasons = response.get("CancellationReasons", [])
            if any(r.get("Code") == "ValidationError" and "size" in r.get("Message", "") for r in reasons):
                raise Invalid.field("", _TOO_LARGE) from error
            codes = [reason.get("Code") for reason in reasons]
            raise Cancelled([None if code == "None" else code for code in codes]) from None
        if code == "TransactionConflictException":
            raise _Contended from None
        if code == "ValidationException" and "size" in message:
            raise Invalid.field("", _TOO_LARGE) from error
        raise Unavailable(f"DynamoDB: {code}: {message}") from error
    except BotoCoreError as error:
        raise Unavailable(f"DynamoDB does not answer: {error}") from error
