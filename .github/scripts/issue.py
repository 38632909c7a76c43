"""Keep one issue that says what is wrong at night: `issue.py FOLDER`, where night.py wrote. Talks to GitHub through `gh`.

It is found by its label, reopened and edited in place, and closed by the first green night.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LABEL = "nightly"


def gh(*arguments: str) -> str:
    """What `gh` prints."""
    return subprocess.run(["gh", *arguments], check=True, capture_output=True, text=True).stdout


def latest() -> dict[str, Any] | None:
    """The issue, open or closed; nothing if there never was one."""
    listed = gh("issue", "list", "--label", LABEL, "--state", "all", "--limit", "1", "--json", "number,state")
    issues: list[dict[str, Any]] = json.loads(listed)
    return issues[0] if issues else None


def update(folder: Path) -> None:
    """Make the issue say what ``folder`` says."""
    night, body = json.loads((folder / "issue.json").read_text("utf-8")), str(folder / "issue.md")
    issue = latest()
    number, closed = (str(issue["number"]), issue["state"] == "CLOSED") if issue else ("", False)
    if not night["red"]:
        if issue and not closed:
            gh("issue", "close", number, "--comment", night["title"])
    elif not issue:
        gh("label", "create", LABEL, "--description", "What the night found", "--force")
        gh("issue", "create", "--label", LABEL, "--title", night["title"], "--body-file", body)
    else:
        gh("issue", "edit", number, "--title", night["title"], "--body-file", body)
        if closed:
            gh("issue", "reopen", number)
        if night["news"]:
            # An edit notifies nobody.
            gh("issue", "comment", number, "--body", night["news"])


if __name__ == "__main__":
    update(Path(sys.argv[1]))
