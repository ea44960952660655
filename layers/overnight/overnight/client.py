"""A client of the HTTP API, the same on every engine: what the command line talks through."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import quote, urlsplit

import httpx

from overnight.errors import OvernightError, Problem

__all__ = ["DEFAULT_URL", "ApiError", "Client", "NoEngine", "View"]

DEFAULT_URL = "http://127.0.0.1:8321"
PAGE = 200
"""The longest page that the API gives."""

MOST_FINDINGS = 1_000
"""After so many findings `verify` looks no further."""

View: TypeAlias = dict[str, Any]
"""What the API answered, as it is."""


class NoEngine(OvernightError):
    """Nothing answers at the URL."""

    code = "no_engine"

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(f"no engine answers at {url} ({reason}); start one with `overnight serve`")


class ApiError(OvernightError):
    """The engine refused: an answer of 400 and above, as problem details (RFC 9457) or otherwise."""

    code = "api_error"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        problems: Sequence[Problem] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        self.status = status
        self.problem_code = code
        self.problems = tuple(problems)
        self.retry_after_seconds = retry_after_seconds
        super().__init__("; ".join(map(str, self.problems)) or message)

    @classmethod
    def of(cls, response: httpx.Response) -> "ApiError":
        """The error that a response stands for."""
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return cls(response.status_code, f"{response.url} answered {_status_line(response.status_code)}")
        # API Gateway's own refusals, of a signature for one, have a `message`, in either spelling.
        said = (body.get(name) for name in ("detail", "title", "message", "Message"))
        message = next(filter(None, said), None) or _status_line(response.status_code)
        if body.get("code") == "unauthorized":
            message = f"{message}; the token is read from OVERNIGHT_API_TOKEN"
        errors = [each for each in body.get("errors") or [] if isinstance(each, dict)]
        return cls(
            response.status_code,
            str(message),
            code=body.get("code"),
            problems=[
                Problem(str(e.get("field", "")), str(e.get("message", ""))) for e in errors if isinstance(e, dict)
            ],
            retry_after_seconds=_seconds(response.headers.get("Retry-After")),
        )


class Client(AbstractContextManager["Client"]):
    """Speaks to one engine.

    Every method returns what the API answered, and raises NoEngine where nothing answers, ApiError where it refuses.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        auth: httpx.Auth | None = None,
        front_door: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Of the engine at that URL.

        Args:
            url: where its API answers.
            token: the token that it asks for.
            timeout_seconds: how long an answer may take.
            auth: signs requests, where a token is not what is asked for.
            front_door: the URL before `/api/v1/webhooks`, where that is another.
            transport: what carries requests, in tests.

        Raises:
            NoEngine: it is no URL of HTTP.
        """
        self.url = url.rstrip("/")
        self.front_door = (front_door or url).rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise NoEngine(url, "the URL must begin with http:// or https://")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            auth=auth,
            timeout=httpx.Timeout(timeout_seconds, connect=5.0),
            # Reading the certificates takes longer than a local call.
            verify=parts.scheme == "https",
            # A proxy of the environment has no way to this machine's own loopback address.
            trust_env=parts.hostname not in {"localhost", "127.0.0.1", "::1"},
            transport=transport,
        )

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    # Agents

    def agents(self, *, status: str | None = None, cursor: str | None = None, limit: int = 50) -> View:
        """One page of agents by name: `items` and `cursor`."""
        return self._page(_AGENTS, {"status": status}, cursor, limit)

    def every_agent(self) -> Iterator[View]:
        """All agents, page by page."""
        cursor: str | None = None
        while True:
            page = self.agents(cursor=cursor, limit=PAGE)
            yield from page["items"]
            if not (cursor := page.get("cursor")):
                return

    def agent(self, ref: str) -> View:
        """The agent of that id or name."""
        return self._view("GET", _agent(ref))

    def create_agent(self, document: Mapping[str, Any]) -> View:
        """Create an agent; STOPPED unless the document says `enabled`."""
        return self._view("POST", _AGENTS, json=document)

    def put_agent(self, name: str, document: Mapping[str, Any], *, dry_run: bool = False) -> View:
        """Create or replace the agent of that name; with `dry_run` say what would happen: `action` and `changed`."""
        return self._view("PUT", _agent(name), params={"dry_run": dry_run or None}, json=document)

    def edit_agent(self, ref: str, patch: Mapping[str, Any], *, if_match: int | None = None) -> View:
        """Change some fields (JSON merge patch, RFC 7396), if it still has that version."""
        headers = {"Content-Type": "application/merge-patch+json"}
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        return self._view("PATCH", _agent(ref), json=patch, headers=headers)

    def delete_agent(self, ref: str) -> None:
        """Disarm and delete an agent; its executions are kept as long as they would be."""
        self._send("DELETE", _agent(ref))

    def start(self, ref: str) -> View:
        """Arm its schedules and take its webhooks and events."""
        return self._view("POST", _agent(ref, "start"))

    def stop(self, ref: str, *, cancel_running: bool = False) -> View:
        """Disarm it and cancel its line; `cancel_running` cancels its running executions too."""
        return self._view("POST", _agent(ref, "stop"), params={"cancel_running": cancel_running or None})

    def pause(self, ref: str, *, note: str | None = None) -> View:
        """Disarm it; its line waits."""
        return self._view("POST", _agent(ref, "pause"), json={"note": note} if note else None)

    def resume(self, ref: str) -> View:
        """Arm it again and go on with its line."""
        return self._view("POST", _agent(ref, "resume"))

    def trigger(
        self,
        ref: str,
        *,
        input_value: str | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own word
        payload: Any = None,
        test: bool = False,
        idempotency_key: str | None = None,
    ) -> View:
        """Run it now; the execution. The same `idempotency_key` gives the same execution."""
        said = {"input_value": input_value, "input": input, "payload": payload, "test": test or None}
        body = {name: value for name, value in said.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self._view("POST", _agent(ref, "trigger"), json=body or None, headers=headers)

    def status(self, ref: str) -> View:
        """What it does now: running, waiting, next ticks."""
        return self._view("GET", _agent(ref, "status"))

    def backfill(self, ref: str, *, since: str, until: str, trigger: str | None = None, dry_run: bool = False) -> View:
        """Run the ticks of [since, until) (RFC 3339) that have not run; with `dry_run` only say which."""
        body = {"since": since, "until": until} | ({"trigger": trigger} if trigger else {})
        return self._view("POST", _agent(ref, "backfill"), params={"dry_run": dry_run or None}, json=body)

    # Executions

    def executions(self, *, cursor: str | None = None, limit: int = 50, **where: str | None) -> View:
        """One page of executions, newest first; `where` is agent, status, kind, trigger, since, until."""
        return self._page("/api/v1/executions", where, cursor, limit)

    def execution(self, execution_id: str) -> View:
        """One execution with its attempts."""
        return self._view("GET", _execution(execution_id))

    def logs(self, execution_id: str) -> View:
        """What its attempts said: `items` of at, attempt, level, message."""
        return self._view("GET", _execution(execution_id, "logs"))

    def cancel(self, execution_id: str) -> View:
        """Cancel it."""
        return self._view("POST", _execution(execution_id, "cancel"))

    def redrive(self, execution_id: str, *, latest: bool = False) -> View:
        """Give a failed execution a new budget of tries; `latest` takes the agent as it is now."""
        return self._view("POST", _execution(execution_id, "redrive"), params={"latest": latest or None})

    def redrive_all(
        self, *, agent: str | None = None, since: str | None = None, until: str | None = None, latest: bool = False
    ) -> View:
        """Redrive every failed execution of an agent, or of a time: `count` and `execution_ids`."""
        where = {"agent": agent, "status": "failed", "since": since, "until": until, "latest": latest or None}
        body = {name: value for name, value in where.items() if value is not None}
        return self._view("POST", "/api/v1/executions/redrive", json=body)

    def replay(self, execution_id: str, *, idempotency_key: str | None = None) -> View:
        """Fire again what it was the record of; the new execution, which names this one."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self._view("POST", _execution(execution_id, "replay"), headers=headers)

    # Webhooks, and what an agent tells others

    def webhooks(self, *, agent: str | None = None, cursor: str | None = None, limit: int = 50) -> View:
        """The webhooks of all agents, or of one."""
        return self._page("/api/v1/webhooks", {"agent": agent}, cursor, limit)

    def webhook(self, hook_id: str) -> View:
        """One webhook, and the state of its secrets."""
        return self._view("GET", _webhook(hook_id))

    def webhook_secret(self, hook_id: str) -> View:
        """The secret that was made for it: `secret`, `version`, `previous_until`."""
        return self._view("GET", _webhook(hook_id, "secret"))

    def rotate_webhook_secret(self, hook_id: str, *, overlap_seconds: int | None = None) -> View:
        """Make a new secret; the one before is accepted for the overlap."""
        body = None if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
        return self._view("POST", _webhook(hook_id, "rotate-secret"), json=body)

    def deliver(self, hook_id: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> View:
        """Post a delivery as a sender does, signed already; the `execution_id`, or what a handshake is answered."""
        return self._view("POST", _webhook(hook_id), content=body, headers=dict(headers), params=query)

    def notifications(self, ref: str, *, limit: int = 50) -> View:
        """Whom an agent tells: `url`, `on`, the `secret` that signs, and the last `deliveries`."""
        return self._view("GET", _agent(ref, "notifications"), params={"limit": limit})

    # Events, schedules, secrets, the ledger

    def send_event(self, name: str, *, data: Any = None, event_id: str | None = None) -> View:
        """Send an event: its id and the executions it makes."""
        body: View = {"name": name} | ({"id": event_id} if event_id else {}) | ({} if data is None else {"data": data})
        return self._view("POST", "/api/v1/events", json=body)

    def schedules(self, *, agent: str | None = None, cursor: str | None = None, limit: int = 50) -> View:
        """The schedules of all agents, or of one, with their next ticks."""
        return self._page("/api/v1/schedules", {"agent": agent}, cursor, limit)

    def secrets(self) -> View:
        """The names of the engine's own secrets."""
        return self._view("GET", "/api/v1/secrets")

    def set_secret(self, name: str, value: str) -> None:
        """Keep a secret."""
        self._send("PUT", _secret(name), json={"value": value})

    def delete_secret(self, name: str) -> None:
        """Forget a secret."""
        self._send("DELETE", _secret(name))

    def verify(self, *, agent: str | None = None, since: str | None = None, until: str | None = None) -> View:
        """What the ledger proves: `ok`, `findings` and counts, of all pages; it ends early after 1,000 findings.

        Then `cursor` says that there was more to look at.
        """
        where = {"agent": agent, "since": since, "until": until}
        report = self._view("GET", _VERIFY, params=where)
        while report.get("cursor") and len(report["findings"]) < MOST_FINDINGS:
            where |= {name: report[name] for name in ("since", "until", "cursor")}
            page = self._view("GET", _VERIFY, params=where)
            report |= {"ok": report["ok"] and page["ok"], "cursor": page.get("cursor")}
            report |= {name: report[name] + page[name] for name in ("findings", "agents", "ticks", "executions")}
        return report

    def health(self) -> View:
        """Whether it answers: `status` and `version`."""
        return self._view("GET", "/health")

    # The wire

    def _page(self, path: str, where: Mapping[str, str | None], cursor: str | None, limit: int) -> View:
        """`limit` items of a listing; a page of the API may have fewer than it was asked for, though there are more."""
        items: list[View] = []
        while True:
            page = self._view("GET", path, params={**where, "cursor": cursor, "limit": limit - len(items)})
            items += page["items"]
            cursor = page.get("cursor")
            if cursor is None or len(items) >= limit:
                return {"items": items, "cursor": cursor}

    def _view(self, method: Literal["GET", "POST", "PUT", "PATCH"], path: str, **request: Any) -> View:
        response = self._send(method, path, **request)
        try:
            view = response.json()
        except ValueError:
            view = None
        if not isinstance(view, dict):
            raise ApiError(response.status_code, f"{self.url} does not answer like an Overnight engine")
        return view

    def _send(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, **request: Any
    ) -> httpx.Response:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            response = self._http.request(method, path, params=given, **request)
        except httpx.ConnectError as error:
            raise NoEngine(self.url, _reason(error)) from error
        except httpx.TimeoutException as error:
            raise NoEngine(self.url, "no answer in time") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise NoEngine(self.url, str(error) or type(error).__name__) from error
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            raise ApiError.of(response)
        return response


_AGENTS = "/api/v1/background_agents"
_VERIFY = "/api/v1/verify"


def _agent(ref: str, *verb: str) -> str:
    return "/".join((_AGENTS, _part("agent", ref), *verb))


def _execution(execution_id: str, *verb: str) -> str:
    return "/".join(("/api/v1/executions", _part("execution", execution_id), *verb))


def _webhook(hook_id: str, *verb: str) -> str:
    return "/".join(("/api/v1/webhooks", _part("webhook", hook_id), *verb))


def _secret(name: str) -> str:
    return "/".join(("/api/v1/secrets", _part("name", name)))


def _part(field: str, text: str) -> str:
    """A part of a path. Raises ApiError for what would be none, or several: servers read `%2F` as a slash."""
    if not text or "/" in text:
        message = f"must not {'contain /' if text else 'be empty'}"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, message, code="invalid", problems=[Problem(field, message)])
    return quote(text, safe="")


def _reason(error: Exception) -> str:
    """`connection refused`, without the number that the system has for it."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)).lower() or "connection failed"


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its form as a date is not used by the API."""
    try:
        return float(retry_after) if retry_after else None
    except ValueError:
        return None
