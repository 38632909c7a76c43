"""The report of a night: `night.py EVENTS KEPT OUT`. Needs the project installed.

Reads the events of every stack and the file of the soak below EVENTS, and in KEPT the night before, which it replaces by this
one. Writes to OUT the page, and `issue.json` and `issue.md` for issue.py; and the summary of the job. The planned stacks are in
``STACKS``, as plan.py gave them: one that left nothing is red.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conformance.core.errors import UserError
from conformance.report.issue import issue_news, issue_text, issue_title
from conformance.report.merged import check_run
from conformance.report.nights import Night, after, keep_night, load_night, read_soak, read_stack
from conformance.session.reader import read_events


def merged_summary(folder: Path, out: Path) -> str:
    """The summary of all events below ``folder`` that can be merged; their page is written to ``out``."""
    good = [str(file) for file in sorted(folder.rglob("*.events.jsonl")) if _mergeable(file)]
    if good:
        subprocess.run(["peft-conformance", "report", "merge", *good, "--out", str(out)], check=False)
    summary = out / "summary.md"
    if summary.is_file():
        return summary.read_text("utf-8")
    print("::error::There is no merged report, see the log of this step")
    return "There is no merged report.\n"


def _mergeable(file: Path) -> bool:
    try:
        check_run(read_events(file))
    except UserError:
        return False
    return True


def tonight(folder: Path) -> Night:
    """What the events below ``folder`` say of the planned stacks."""
    planned = json.loads(os.environ.get("STACKS") or "[]")
    return Night(
        run=os.environ["GITHUB_RUN_NUMBER"],
        link="{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(os.environ),
        stacks=tuple(read_stack(entry["stack"], folder, settled=entry["settled"]) for entry in planned),
        soaked=read_soak(folder),
    )


def main(folder: Path, nights: Path, out: Path) -> None:
    """Write everything."""
    previous = load_night(nights / "night.json")
    night, changes = after(previous, tonight(folder))
    if night.stacks:
        keep_night(night, nights / "night.json")
    out.mkdir(parents=True, exist_ok=True)
    headline = {"red": night.red, "title": issue_title(night), "news": issue_news(night, changes)}
    (out / "issue.json").write_text(json.dumps(headline), "utf-8")
    (out / "issue.md").write_text(issue_text(night, changes, previous), "utf-8")
    summary = issue_text(night, changes, previous, everything=True)
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as file:
        file.write(f"## {issue_title(night)}\n\n{summary}\n")
        file.flush()
        file.write(merged_summary(folder, out))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
