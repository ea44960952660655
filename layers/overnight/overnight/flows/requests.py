"""Between an engine and a flow: what an attempt is asked for becomes a call, and how the call ended a report."""

from overnight.agents import LangflowApiFlow, LangflowFlow, PythonFlow
from overnight.executions import AttemptOutcome, Failure, FiringKind, Usage
from overnight.flows import call as calls
from overnight.ports import RunReport, RunRequest

__all__ = ["called", "reported", "timed_out"]


def called(request: RunRequest) -> calls.Call:
    """The call that carries out a request."""
    execution = request.execution
    given = request.input
    schedule = request.agent.document.schedules.get(execution.trigger or "")
    return calls.Call(
        execution_id=execution.id,
        agent_id=execution.agent_id,
        agent=execution.agent,
        attempt=execution.attempt,
        flow=_flow(request),
        input=calls.CallInput(
            input_value=_text(given.get("input_value")),
            input_type=_text(given.get("input_type")) or "chat",
            output_type=_text(given.get("output_type")) or "chat",
            tweaks=_mapping(given.get("tweaks")),
            session_id=request.session_id,
        ),
        variables=dict(request.variables),
        firing=calls.FiringContext(
            kind=FiringKind(execution.kind).value,
            trigger=execution.trigger,
            nominal=execution.nominal,
            payload=request.payload,
            missed_ticks=execution.missed_ticks,
            test=execution.test,
            dedupe_key=execution.dedupe_key,
            cron=getattr(schedule, "cron", None),
            timezone=getattr(schedule, "timezone", None),
        ),
    )


def reported(outcome: calls.Result | calls.FlowFailure, printed: str) -> RunReport:
    """The report of a call that ended by itself."""
    if isinstance(outcome, calls.FlowFailure):
        return RunReport(AttemptOutcome.FAILED, failure=_failure(outcome), usage=_usage(outcome.usage), log=printed)
    return RunReport(
        AttemptOutcome.SUCCEEDED,
        text=outcome.text,
        outputs=dict(outcome.outputs),  # type: ignore[arg-type]
        usage=_usage(outcome.usage),
        log=printed,
    )


def timed_out(seconds: float) -> Failure:
    """The failure of a call that took longer than its agent allows."""
    return Failure(
        type="TimedOut", message=f"it took longer than {seconds:g} s and was ended; `timeout_seconds` sets the limit"
    )


def _flow(request: RunRequest) -> calls.Flow:
    match request.agent.document.flow:
        case PythonFlow(python=target):
            return calls.PythonFlow(target)
        case LangflowFlow():
            return calls.LangflowFlow(request.flow_json or "")
        case LangflowApiFlow(langflow_api=api):
            return calls.LangflowApiFlow(api.url, api.flow, request.api_key, request.timeout_seconds)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> dict[str, calls.JSON]:
    return dict(value) if isinstance(value, dict) else {}


def _failure(failure: calls.FlowFailure) -> Failure:
    return Failure(
        type=failure.error_type,
        message=failure.message,
        retryable=failure.retryable,
        retry_after_seconds=failure.retry_after_seconds,
        traceback=failure.traceback or None,
        component=failure.component,
    )


def _usage(usage: calls.Usage | None) -> Usage | None:
    if usage is None:
        return None
    return Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=usage.total_tokens)
