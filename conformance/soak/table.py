"""What a soak counted, as lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conformance.soak.tally import UNDECIDED, Count, Tally


def table(tally: Tally) -> Iterator[str]:
    """A line for each clause of each subject, a column for each family; then reasons, alarms and the sum."""
    families = sorted({count.item.subject for count in tally.counts})
    rows: dict[tuple[str, str], dict[str, Count]] = {}
    for count in tally.counts:
        rows.setdefault((count.subject, count.item.clause), {})[count.item.subject] = count
    wide = max((len(f"{subject} {clause}") for subject, clause in rows), default=0)
    yield "judged examples; behind the slash those that are undecided"
    yield " ".join([" " * wide, *(f"{family:>9}" for family in families)])
    for (subject, clause), row in rows.items():
        cells = (_cell(row.get(family)) for family in families)
        yield " ".join([f"{subject} {clause}".ljust(wide), *(f"{cell:>9}" for cell in cells)])
    yield from _reasons(tally)
    for alarm in tally.alarms:
        yield f"alarm: {alarm.item} {alarm.word}; repeat: {alarm.repeat}"
    yield summary(tally)


def summary(tally: Tally) -> str:
    """The sum in one sentence."""
    begun = "" if tally.complete else "incomplete: "
    milliseconds = 1000 * tally.cpu_seconds / max(1, tally.judged)
    return (
        f"{begun}{tally.judged} examples of healthy subjects judged, {len(tally.alarms)} alarms, "
        f"{tally.undecided:.2%} undecided, {tally.cpu_seconds:.0f} CPU seconds ({milliseconds:.1f} ms an example)"
    )


def _cell(count: Count | None) -> str:
    if count is None:
        return "-"
    return f"{count.judged}/{count.undecided}" if count.undecided else str(count.judged)


def _reasons(tally: Tally) -> Iterator[str]:
    found: Counter[str] = Counter()
    for count in tally.counts:
        for reason, number in count.reasons.items():
            if reason.startswith(UNDECIDED):
                found[f"{count.subject} {count.item} {reason}"] += number
    for reason, number in found.most_common():
        yield f"{number:6} {reason}"
