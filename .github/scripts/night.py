"""The report of a night: `night.py EVENTS KEPT OUT`. Needs the project installed.

Reads the events of every stack below EVENTS, and in KEPT the night before, which it replaces by this one. Writes to OUT the
page, and `issue.json` and `issue.md` for issue.py; and the summary of the job. The planned stacks are in ``STACKS``, as
plan.py gave them: one that left nothing is red.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from conformance.core.errors import UserError
from conformance.report import issue, nights
from conformance.session import events


def page(files: Iterable[Path], out: Path) -> str:
    """The merged report of all ``files`` that can be read; its summary."""
    good = [str(file) for file in files if _readable(file)]
    if good:
        subprocess.run(["peft-conformance", "report", "merge", *good, "--out", str(out)], check=False)
    found = out / "summary.md"
    return found.read_text("utf-8") if found.is_file() else "There is no merged report.\n"


def _readable(file: Path) -> bool:
    try:
        events.read(file)
    except UserError:
        return False
    return True


def main(found: Path, kept: Path, out: Path) -> None:
    """Write everything."""
    planned = json.loads(os.environ.get("STACKS") or "[]")
    previous = nights.load(kept / "night.json")
    night, changes = nights.after(
        previous,
        nights.Night(
            run=os.environ["GITHUB_RUN_NUMBER"],
            link="{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(os.environ),
            stacks=tuple(nights.stack(entry["stack"], found, settled=entry["settled"]) for entry in planned),
        ),
    )
    if planned:
        nights.keep(night, kept / "night.json")
    out.mkdir(parents=True, exist_ok=True)
    said = {"red": night.red, "title": issue.title(night), "news": issue.news(night, changes)}
    (out / "issue.json").write_text(json.dumps(said), "utf-8")
    (out / "issue.md").write_text(issue.text(night, changes, previous), "utf-8")
    summary = issue.text(night, changes, previous, everything=True)
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as file:
        file.write(f"## {issue.title(night)}\n\n{summary}\n")
        file.flush()
        file.write(page(sorted(found.rglob("*.events.jsonl")), out))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
