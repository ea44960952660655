"""docs/demo.svg: the live table of the real demo, soon after a worker was killed: `python -m tools.docs.picture`."""

import io
import re
import time
from pathlib import Path

from rich.console import Console, RenderableType

from overnight.cli import demo
from overnight.cli.apply import apply
from overnight.client import Client

__all__ = ["svg", "taken"]

LATER_SECONDS = 8.0
"""The demo's scenes come so much later here, when its table has filled."""

TAKEN_AFTER_SECONDS = 1.4
"""From the kill: what the worker ran has gone on in another one."""

WIDTH = 88
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def taken() -> RenderableType:
    """Run the demo up to that moment, and look."""
    folder = demo._examples()  # noqa: SLF001 - the demo shows its picture to nobody else
    news = demo._News()  # noqa: SLF001
    news.aloud = False
    with demo._engine(folder, news) as (engine, url), Client(url) as client:  # noqa: SLF001
        apply(folder / "agents.yaml", url=url)
        began = time.monotonic()
        client.trigger("survivor")
        for after, scene in (
            (demo.EVENT_AFTER_SECONDS, demo._send_event),  # noqa: SLF001
            (demo.KILL_AFTER_SECONDS, demo._kill_worker),  # noqa: SLF001
        ):
            time.sleep(began + LATER_SECONDS + after - time.monotonic())
            scene(client, engine, news)
        time.sleep(TAKEN_AFTER_SECONDS)
        picture = demo._picture(client, news, demo.SECONDS - (time.monotonic() - began))  # noqa: SLF001
        for agent in list(client.every_agent()):
            client.stop(agent["name"], cancel_running=True)
        return picture


def svg(picture: RenderableType) -> str:
    """As SVG that refers to nothing outside itself."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(picture)
    return _FONTS.sub("", console.export_svg(title="make demo", unique_id="demo"))


if __name__ == "__main__":
    path = Path(__file__).parents[2] / "docs" / "demo.svg"
    path.write_text(svg(taken()), encoding="utf-8")
