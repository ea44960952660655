"""Executions and their attempts: inserted once, then each move on condition that nobody moved them in between."""

from collections.abc import Callable, Sequence
from datetime import datetime

from overnight.aws.dynamodb import rows
from overnight.aws.dynamodb.gates import Gate, Gates, state_key
from overnight.aws.dynamodb.schema import BY_DUE, PK, SK, TTL
from overnight.aws.dynamodb.table import MARK, Cancelled, Check, Condition, Delete, Put, Refused, Table, Update
from overnight.aws.dynamodb.tries import tries
from overnight.aws.dynamodb.values import Item, epoch
from overnight.errors import ExecutionNotFound
from overnight.executions import Attempt, Execution, Message
from overnight.ports import Revision

__all__ = ["Executions"]


class Executions:
    """Executions in the table.

    Args:
        table: where they are.
        now: the clock; what it has passed is not there any more, though DynamoDB deletes it later.
    """

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    # Reading

    def find(self, execution_id: str) -> Execution | None:
        """The execution of that id, if there is one."""
        item = self._table.get(rows.key_of(execution_id))
        return None if item is None or self._gone(item) else rows.execution_of(item)

    def get(self, execution_id: str) -> Execution:
        """The execution of that id. Raises ExecutionNotFound."""
        execution = self.find(execution_id)
        if execution is None:
            raise ExecutionNotFound(execution_id)
        return execution

    def each(self, execution_ids: Sequence[str]) -> list[Execution]:
        """The executions of these ids, in this order, as far as they are there."""
        items = self._table.get_each(rows.key_of(id_) for id_ in execution_ids)
        found = (items.get(rows.key_of(id_)) for id_ in execution_ids)
        return [rows.execution_of(item) for item in found if item is not None and not self._gone(item)]

    def attempts(self, execution_id: str) -> list[Attempt]:
        """The attempts that have ended, by number. Raises ExecutionNotFound."""
        items = {str(item[SK]): item for item in self._table.query(f"EXEC#{execution_id}") if not self._gone(item)}
        row = items.pop("EXEC", None)
        if row is None:
            raise ExecutionNotFound(execution_id)
        found = [rows.execution_of(row).first, *map(rows.attempt_of, items.values()), rows.last_of(row)]
        # One that has just become an item is still the last one, until the next has ended.
        return list({attempt.number: attempt for attempt in found if attempt}.values())

    def _gone(self, item: Item) -> bool:
        return TTL in item and int(item[TTL]) <= epoch(self._now())

    def absent(self) -> Condition:
        """There is none, or its retention has passed."""
        return Condition("attribute_not_exists(#pk) OR #ttl <= :today", {"today": epoch(self._now())})

    # Writing

    def insert(self, execution: Execution) -> Execution | None:
        """Insert it; None, or the one of that id that is there already."""
        item = rows.new_item(execution) | {MARK: self._table.mark()}
        try:
            self._table.put(item, self.absent())
        except Refused as refused:
            return self.get(execution.id) if refused.found is None else rows.execution_of(refused.found)
        return None

    def insertion(self, execution: Execution, over: Execution | None) -> Put:
        """Its insert as a part of a transaction; in place of a row `over`, if that is as it was."""
        condition = self.absent() if over is None else _untouched(over)
        return Put(rows.new_item(execution), condition)

    def withdraw(self, execution: Execution, gate: Gate) -> bool:
        """Take an insert back, unless somebody has taken the execution up: proven by its row and the agent's state."""
        try:
            self._table.transact(
                [
                    Delete(rows.key_of(execution.id), _untouched(execution)),
                    Check(state_key(gate.agent.id), Gates.unmoved(gate)),
                ]
            )
        except Cancelled:
            return False
        return True

    def revise(
        self, execution_id: str, move: Callable[[Execution], Revision | None], known: Execution | None
    ) -> tuple[Revision, tuple[Message, ...]] | None:
        """Move an execution. Raises ExecutionNotFound."""
        if known is not None:
            try:
                revision = move(known)
            except Exception:  # noqa: BLE001 - it may be out of date; what is stored decides
                revision = None
            if revision is not None:
                try:
                    return self._sent(self.write(known, revision))
                except Refused as refused:
                    known = self._found(execution_id, refused)
            else:
                known = None
        for _ in tries(f"execution {execution_id}"):
            execution = known or self.get(execution_id)
            revision = move(execution)
            if revision is None:
                return None
            try:
                return self._sent(self.write(execution, revision))
            except Refused as refused:
                known = self._found(execution_id, refused)
        raise AssertionError  # tries end by raising

    def _found(self, execution_id: str, refused: Refused) -> Execution:
        if refused.found is None or self._gone(refused.found):
            raise ExecutionNotFound(execution_id)
        return rows.execution_of(refused.found)

    @staticmethod
    def _sent(revision: Revision) -> tuple[Revision, tuple[Message, ...]]:
        return revision, revision.sends

    def write(self, before: Execution, revision: Revision) -> Revision:
        """Write what an execution becomes, with its attempt; as it is then. Raises Refused."""
        attempt = revision.attempt
        after, update = self.writing(before, revision)
        if attempt is not None and attempt.number > 2:  # noqa: PLR2004 - the second is the first that was a last one
            self._keep_last(before)
        try:
            self._table.update(update.key, put=update.put, drop=update.drop, condition=update.condition)
        except Refused as refused:
            if attempt is not None and refused.found is not None and refused.found["rev"] == before.rev:
                # It has ended already, and ends once.
                written = self.write(before, Revision(revision.execution, sends=revision.sends))
                return Revision(written.execution, attempt, revision.sends)
            # Where an answer was lost, a retry finds what it has written itself.
            if refused.found is None or refused.found.get(MARK) != update.put[MARK]:
                raise
        self.written(before, after)
        return Revision(after, attempt, revision.sends)

    def writing(self, before: Execution, revision: Revision) -> tuple[Execution, Update]:
        """What an execution becomes, and the write that makes it so."""
        after, attempt = revision.execution, revision.attempt
        update: dict[str, object] = {}
        if after.rev != before.rev + 1:
            update["rev"] = before.rev + 1
        if attempt is not None and attempt.number == 1 and after.first is None:
            update["first"] = attempt
        if update:
            after = after.model_copy(update=update)
        put, drop = rows.changes(before, after)
        put[MARK] = self._table.mark()
        condition = _untouched(before)
        if attempt is not None and attempt.number > 1:
            put |= rows.with_last(attempt)
            condition = _untouched_while_it_runs(before, attempt)
        return after, Update(rows.key_of(after.id), put, drop, condition)

    def written(self, before: Execution, after: Execution) -> None:
        """What follows the write: attempts that are items are kept as long as their execution."""
        if after.attempt > 2 and (after.status.terminal or before.status.terminal):  # noqa: PLR2004
            self._retain(after)

    def _keep_last(self, before: Execution) -> None:
        """Make an item of the last attempt, which the next one is about to replace in the row."""
        row = self._table.get(rows.key_of(before.id))
        last = rows.last_of(row) if row else None
        if last is not None and row is not None and row["rev"] == before.rev:
            self._table.put(rows.attempt_item(last))

    def _retain(self, execution: Execution) -> None:
        """Let the attempts go with their execution, and not before."""
        gone: Item = {}
        if execution.status.terminal and execution.retain_until:
            gone = {TTL: epoch(execution.retain_until)}
        for item in self._table.query(f"EXEC#{execution.id}", low="ATTEMPT#", high="ATTEMPT#~"):
            key = str(item[PK]), str(item[SK])
            self._table.update(key, put=gone, drop=() if gone else (TTL,))

    # What watches over rows

    def calm(self, execution_id: str) -> None:
        """Let nobody look at the row in time: its agent's state holds it, and says when."""
        live = Condition("begins_with(#shard, :live)", {"live": "LIVE#"})
        try:
            self._table.update(rows.key_of(execution_id), put={BY_DUE.sk: rows.CALM}, condition=live)
        except Refused:
            return  # It has moved on.

    def adopt(self, execution: Execution) -> None:
        """Give an execution that nobody holds a due time of its own, since it was created."""
        orphan = execution.model_copy(update={"due": execution.created_at})
        try:
            self.write(execution, Revision(orphan))
        except Refused:
            return  # Somebody has it.


def _untouched_while_it_runs(execution: Execution, attempt: Attempt) -> Condition:
    """Nobody has moved it since, and this attempt has not ended."""
    not_ended = f"attribute_not_exists(#{rows.ENDED}) OR #{rows.ENDED} < :number"
    return Condition(f"#rev = :rev AND ({not_ended})", {"rev": execution.rev, "number": attempt.number})


def _untouched(execution: Execution) -> Condition:
    """Nobody has moved it since."""
    return Condition("#rev = :rev", {"rev": execution.rev})
