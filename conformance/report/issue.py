"""A night in Markdown: the text of the one issue, and the beginning of the summary."""

from __future__ import annotations

from conformance.report.markdown import markdown
from conformance.report.nights import Changes, Night
from conformance.report.phrases import plural

ITEMS = 60
"""Items under one heading; GitHub takes 65,536 characters, and the page of the night has all."""
REPEATED = 5
"""New violations that are shown with the line that repeats them."""


def issue_title(night: Night) -> str:
    """What the issue is called, or the comment that closes it."""
    if not night.red:
        all_conform = all(stack.code == 0 for stack in night.stacks)
        settled = "All current stacks conform, and settled ones show nothing new,"
        left = sum(stack.left for stack in night.stacks)
        limit = f" as far as they were judged ({plural(left, 'item')} not run)" if left else ""
        return f"{'All stacks conform' if all_conform else settled}{limit} since run {night.run}: {night.link}"
    red = sum(stack.red for stack in night.stacks)
    number = f"{red} of {plural(len(night.stacks), 'stack')} red" if night.stacks else "nothing was planned"
    return f"Nightly conformance: {number}{', and the soak' if night.soak_is_red else ''}"


def issue_news(night: Night, changes: Changes) -> str:
    """What is worth a notification; nothing if nothing is new."""
    alarms = night.soaked.alarms if night.soaked else ()
    news = [(len(changes.new), "new violation"), (len(alarms), "alarm")]
    told = " and ".join(plural(number, what) for number, what in news if number)
    return f"{told} in [run {night.run}]({night.link})." if told else ""


def issue_text(night: Night, changes: Changes, previous: Night | None, everything: bool = False) -> str:
    """The issue: the red stacks and what changed; with ``everything`` also the green stacks."""
    stacks = [stack for stack in night.stacks if everything or stack.red]
    repeats = [line for item in changes.new[:REPEATED] for line in (f"# {item.stack}", item.violation.repeat)]
    values = {"night": night, "changes": changes, "previous": previous, "stacks": stacks, "repeats": repeats}
    return markdown("issue.md.jinja", **values, most=ITEMS)
