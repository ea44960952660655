"""The ledger: whether every tick of every schedule has exactly one record."""

from overnight.cli.connection import connect
from overnight.cli.execution import short
from overnight.cli.failure import Findings, plural
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Agent, Json, Since, Until, Url
from overnight.cli.terminal import now, print_json, print_table, say, warn
from overnight.cli.times import instant, moment

__all__ = ["app"]

app = noun()


@app.command(epilog=examples("overnight verify --since 7d", "overnight verify --agent hello --since 2026-11-01 --json"))
def verify(agent: Agent = None, since: Since = None, until: Until = None, json: Json = False, url: Url = URL) -> None:
    """Prove that nothing was lost, doubled or left stuck.

    Recomputes every tick of every schedule, and reports holes, doubles, broken invariants and stuck executions; exits 1
    if there is any.
    """
    at = now()
    with connect(url) as client:
        report = client.verify(agent=agent, since=instant(since, "--since", at), until=instant(until, "--until", at))
    if json:
        print_json(report)
    else:
        unfinished = plural(report["executions"], "unfinished execution")
        looked = f"{plural(report['agents'], 'agent')}, {plural(report['ticks'], 'tick')}, {unfinished}"
        rows = [
            (
                finding["kind"],
                finding.get("agent"),
                finding.get("trigger"),
                moment(finding.get("at"), at),
                short(finding.get("execution_id") or ""),
                finding["message"],
            )
            for finding in report["findings"]
        ]
        if rows:
            headings = ("FINDING", "AGENT", "TRIGGER", "AT", "EXECUTION", "WHAT")
            print_table(headings, rows, keep=("FINDING", "WHAT"), spare=("TRIGGER", "EXECUTION"), empty="")
            say(f"{plural(len(rows), 'finding')} in {looked}")
            if report.get("cursor"):
                warn("so many are enough: the rest was not looked at; --agent looks at one agent alone")
        else:
            say(f"nothing lost, doubled or stuck in {looked}")
    if not report["ok"]:
        raise Findings
