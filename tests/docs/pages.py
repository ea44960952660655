"""The pages of README.md and docs/, taken apart: blocks of samples, links, headings."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

GENERATED = ("docs/agents.md", "docs/api.md", "docs/cli.md")
"""Made by `make docs`."""

WRITTEN_BY_HAND = (
    "README.md",
    "docs/guide.md",
    "docs/webhooks.md",
    "docs/agents.md",
    "docs/events.md",
    "docs/langflow.md",
    "docs/operate.md",
    "docs/postgresql.md",
    "docs/troubleshooting.md",
)
"""Whose samples are tried, in this order, in one project. The commands of docs/cli.md are tried by the tests of the
command line."""

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FLOW = re.compile(r"\bflows/[\w-]+\.json\b")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, what stands behind that, its text, its line, and why it is not run."""

    language: str
    rest: str
    text: str
    line: int
    reason: str | None

    @property
    def file(self) -> str | None:
        """The file that it is, where the page names one: ```yaml agents.yaml."""
        return self.rest if "." in self.rest else None

    @property
    def is_output(self) -> bool:
        """Whether it is what the block before it prints."""
        return self.rest == "output"

    @property
    def flow_files(self) -> set[str]:
        """The flows that it speaks of."""
        return set(_FLOW.findall(self.text))


@dataclass(frozen=True, slots=True)
class Page:
    """A page by its path below the repository's root."""

    path: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks."""
        found = []
        for match in _BLOCK.finditer(self.text):
            language, _, rest = match["info"].strip().partition(" ")
            line = self.text.count("\n", 0, match.start("info")) + 1
            found.append(Block(language, rest, match["text"], line, match["reason"]))
        return found

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        return _LINK.findall(_BLOCK.sub("", self.text))

    @property
    def anchors(self) -> set[str]:
        """What a link into it may name, as GitHub makes it of headings."""
        return {_anchor(heading) for heading in _HEADING.findall(_BLOCK.sub("", self.text))}


def pages(paths: Iterable[str] | None = None) -> list[Page]:
    """These pages; all that there are if none is named."""
    found = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
    return [Page(path, (ROOT / path).read_text(encoding="utf-8")) for path in (found if paths is None else paths)]


def _anchor(heading: str) -> str:
    plain = re.sub(r"[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
    return "".join(c for c in plain.replace(" ", "-") if c.isalnum() or c in "-_")
