"""Write the pages that are made from the code: `python -m tools.docs`; with names, only those."""

import sys
from pathlib import Path

from tools.docs import agents, api

from overnight.cli.reference import reference

PAGES = {"agents.md": agents.page, "api.md": api.page, "cli.md": reference}
"""What is in docs/ by name, and what makes it."""

DOCS = Path(__file__).parents[2] / "docs"


def main(names: list[str]) -> None:
    """Write each page that differs."""
    for name, made in PAGES.items():
        path, text = DOCS / name, made()
        if (not names or name in names) and (not path.exists() or path.read_text(encoding="utf-8") != text):
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote docs/{name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
