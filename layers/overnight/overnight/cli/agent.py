"""One agent on the terminal: where it stands, all that it is, and the plan of a backfill."""

from typing import TYPE_CHECKING, Any

from overnight.cli.failure import plural
from overnight.cli.terminal import now, print_json, print_sheet, print_table, say, status_text
from overnight.cli.times import moment

if TYPE_CHECKING:
    from overnight.client import View

__all__ = ["busy", "print_agent", "print_plan", "print_stand", "said"]


def print_stand(view: "View", *, json: bool) -> None:
    """Print where it stands now, in one line or as JSON."""
    if json:
        print_json(view)
        return
    at = now()
    note = f" ({view['note']})" if view.get("note") else ""
    following = f"; next run {moment(view['next_run_at'], at)}" if view.get("next_run_at") else ""
    say(f"{view['name']} is {view['status']}{note}{following}")


def print_plan(plan: "View") -> None:
    """Print the ticks that a backfill would run."""
    at = now()
    rows = [(tick["trigger"], moment(tick["nominal"], at)) for tick in plan["ticks"]]
    print_table(("TRIGGER", "TICK"), rows, empty="no tick of that time is left to run")
    if plan.get("left_out"):
        say(f"{plural(plan['left_out'], 'tick')} left out: they ran already")


def print_agent(view: "View") -> None:
    """Print all that it is."""
    at = now()
    print_sheet(
        [
            ("name", view["name"]),
            ("id", view["id"]),
            ("description", view.get("description")),
            ("status", status_text(view["status"], view.get("note"))),
            ("version", view["version"]),
            ("flow", _flow_text(view["flow"])),
            ("next run", moment(view.get("next_run_at"), at)),
            ("last run", moment(view.get("last_run_at"), at)),
            ("now", busy(view)),
            *((f"trigger {trigger['name']}", said(trigger, but="name")) for trigger in view.get("triggers") or []),
            *((name, said(view.get(name) or {})) for name in ("input", "variables", "retries", "concurrency")),
            ("timeout", view.get("timeout_seconds") and f"{view['timeout_seconds']:g} s"),
            ("start deadline", view.get("start_deadline_seconds") and f"{view['start_deadline_seconds']:g} s"),
            ("notify", said(view.get("notify") or {})),
            ("retention", view.get("retention_days") and f"{view['retention_days']} days"),
            ("created", moment(view.get("created_at"), at)),
            ("updated", moment(view.get("updated_at"), at)),
        ]
    )


def _flow_text(flow: "View") -> str:
    if "python" in flow:
        return str(flow["python"])
    if "langflow_api" in flow:
        return f"{flow['langflow_api']['flow']} on {flow['langflow_api']['url']}"
    return f"{flow.get('name') or 'Langflow'} ({str(flow.get('langflow'))[:12]})"


def said(view: "View", *, but: str = "") -> str:
    """`cron 0 8 * * *, timezone UTC`: what is said, without what is empty, zero or false."""
    return ", ".join(f"{name} {_plain(value)}" for name, value in view.items() if name != but and value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return said(value)
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def busy(agent: "View") -> str:
    """`1 running, 2 waiting`."""
    parts = ((agent.get("running"), "running"), (agent.get("waiting"), "waiting"))
    return ", ".join(f"{count} {word}" for count, word in parts if count)
