"""A turn of the embedded engine: what it has taken is recorded, whatever fails beside it."""

from pathlib import Path

import pytest

from overnight.agents import AgentDocument
from overnight.core import fire, lifecycle, run
from overnight.core.run import Ended
from overnight.embedded.wiring import Settings, open_engine
from overnight.errors import Unavailable
from overnight.executions import AttemptOutcome, Message, Status
from overnight.ports import RunReport


def test_an_end_is_recorded_though_the_store_goes_away_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = open_engine(Settings(data=tmp_path, workers=1))
    try:
        document = AgentDocument.model_validate({"name": "report", "flow": {"python": "reports:daily"}})
        agent, _ = lifecycle.create(engine.ports, document)
        fire.trigger(engine.ports, agent.id)
        (message,) = engine.ports.queue.receive(1, engine.ports.now())
        started = run.start(engine.ports, message)
        assert started is not None
        ended = Ended(started, RunReport(AttemptOutcome.SUCCEEDED, text="done"))
        closing = Message(kind="close", execution_id="0" * 32, agent_id=agent.id, attempt=1)

        def away(message: Message) -> None:
            raise Unavailable("the database does not answer")

        monkeypatch.setattr(engine.ports.queue, "done", away)
        engine._turns.of([ended], [closing])

        assert engine.ports.store.execution(started.execution.id).status is Status.SUCCEEDED
    finally:
        engine.close()
