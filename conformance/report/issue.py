"""A night in Markdown: the text of the one issue, and the beginning of the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from conformance.report.nights import Changes, Item, Night, Stack

RED, GREEN, NOTHING_NEW = "\N{LARGE RED CIRCLE}", "\N{LARGE GREEN CIRCLE}", "\N{MEDIUM WHITE CIRCLE}"
SHOWN = 60
"""Items under one heading; GitHub takes 65,536 characters, and the page of the night has all."""
REPEATED = 5
"""New violations that are shown with the line that repeats them."""


def title(night: Night) -> str:
    """What the issue is called, or what is said when it is closed."""
    if not night.red:
        all_conform = all(stack.code == 0 for stack in night.stacks)
        said = (
            "All stacks conform" if all_conform else "All current stacks conform, and of settled ones nothing is new,"
        )
        if left := sum(stack.left for stack in night.stacks):
            said += f" as far as they were judged ({_many(left, 'item')} not run)"
        return f"{said} since run {night.run}: {night.link}"
    red = sum(stack.red for stack in night.stacks)
    number = f"{red} of {_many(len(night.stacks), 'stack')} red" if night.stacks else "nothing was planned"
    return f"Nightly conformance: {number}"


def news(night: Night, changes: Changes) -> str:
    """What is worth a notification; nothing if nothing is new."""
    return f"{_many(len(changes.new), 'new violation')} in [run {night.run}]({night.link})." if changes.new else ""


def text(night: Night, changes: Changes, previous: Night | None, everything: bool = False) -> str:
    """The issue: the red stacks and what changed; with ``everything`` also the green stacks."""
    against = (
        f"compared with [run {previous.run}]({previous.link})" if previous else "with no night before to compare with"
    )
    parts = [
        f"[Run {night.run}]({night.link}), {against}. The run has the page as its artifact `report`.",
        "\n".join(_table(stack for stack in night.stacks if everything or stack.red)),
        *_section("New", changes.new, lambda item: item.violation.how),
        *_repeats(changes.new),
        *_section("Still there", changes.still, lambda item: item.violation.how),
        *_section("Gone", changes.gone, lambda item: f"now {item.word}"),
        *_section("Not judged tonight", changes.unjudged, lambda item: item.word or "not reached"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(stacks: Iterable[Stack]) -> Iterator[str]:
    yield from ("| stack | releases | result | violations |", "|---|---|---|---|")
    for stack in stacks:
        mark = RED if stack.red else GREEN if stack.code == 0 and not stack.left else NOTHING_NEW
        yield f"| {stack.name} | {stack.pair} | {mark} {_cell(stack.said)} | {len(stack.violations)} |"


def _section(name: str, items: tuple[Item, ...], about: Callable[[Item], str]) -> Iterator[str]:
    if not items:
        return
    lines = [f"- `{item.name}` on {item.stack}: {about(item)}" for item in items[:SHOWN]]
    more = [f"- and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    yield f"### {name}: {_many(len(items), 'violation')}"
    yield "\n".join([*lines, *more])


def _repeats(items: tuple[Item, ...]) -> Iterator[str]:
    if items:
        lines = "\n".join(f"# {item.stack}\n{item.violation.repeat}" for item in items[:REPEATED])
        yield f"```console\n{lines}\n```"


def _cell(said: str) -> str:
    """``said`` within a table: one line, without a column's mark."""
    return " ".join(said.split()).replace("|", "\\|")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
