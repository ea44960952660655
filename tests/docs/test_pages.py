"""Links lead somewhere, generated pages are current, and what pages quote from the code is there."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.docs.pages import ROOT, Page, pages
from tools.docs.__main__ import PAGES

from overnight.embedded.observe import Metrics

LAYER = ROOT / "layers" / "overnight" / "overnight"


def _path(page: Page) -> str:
    return page.path


@pytest.mark.parametrize("page", pages(), ids=_path)
def test_links_lead_somewhere(page: Page) -> None:
    anchors = {other.path: other.anchors for other in pages()}
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = (ROOT / page.path).parent / parts.path if parts.path else ROOT / page.path
        assert target.exists(), link
        if parts.fragment:
            assert parts.fragment in anchors[str(target.resolve().relative_to(ROOT))], link


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_the_picture_refers_to_nothing_outside_itself() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    assert len(picture) < 40_000
    assert set(re.findall(r"https?://[^\s\"'<>]+", picture)) <= {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
    }


@pytest.mark.parametrize("page", pages(), ids=_path)
def test_lines_are_no_longer_than_an_editor_shows(page: Page) -> None:
    if page.path in {f"docs/{name}" for name in PAGES}:
        pytest.skip("generated")
    for number, line in enumerate(page.text.splitlines(), start=1):
        assert len(line) <= 120 or line.startswith("|"), f"{page.path}:{number}"


def _messages() -> list[str]:
    """The headings of docs/troubleshooting.md that quote a message or a name."""
    (page,) = pages(["docs/troubleshooting.md"])
    return re.findall(r"^### `(.+)`$", page.text, re.MULTILINE)


@pytest.mark.parametrize("message", _messages())
def test_messages_in_troubleshooting_are_those_of_the_code(message: str) -> None:
    """Between the dots, each part stands in one file of the code as it is."""
    parts = [part.strip() for part in message.split("…") if part.strip()]
    sources = (re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8")) for path in LAYER.rglob("*.py"))
    assert any(all(part in source for part in parts) for source in sources)


def test_metrics_in_operate_are_those_of_the_engine() -> None:
    (page,) = pages(["docs/operate.md"])
    told = set(re.findall(r"^\| `(overnight_\w+)`", page.text, re.MULTILINE))
    known = {metric.name for metric in Metrics().registry.collect()}
    assert {name.removesuffix("_total") for name in told} == known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program that is there, wherever the unit looks for it."""
    unit = tmp_path / "overnight.service"
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", (ROOT / "docs/overnight.service").read_text()))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
