"""The items: one per clause x family x method, and one per known failure.

The search runs in ``setup`` so that a broken harness, raised there, is an *error*; ``runtest`` turns the verdict into a
pass, a failure, an expected failure or a skip.
"""

from __future__ import annotations

from typing import Any

import pytest

from conformance.core.finding import Cell, Item, encode
from conformance.core.outcome import BROKEN, TABLE, State
from conformance.engine.known import KnownFailure
from conformance.report.finding import finding_text
from conformance.session import judge, time_budget
from conformance.session.events import Judged, Replayed
from conformance.session.selection import Selection


class ConformanceItem(pytest.Item):
    """Base of the items. ``event`` is the outcome as JSON, once there is one; ``reported``: it has left the process."""

    event: str | None = None
    reported = False

    def setup(self) -> None:
        """Judge, unless the requested time is spent; a broken harness is an error."""
        if time_budget.is_spent():
            self.event = encode(self.left_out())
            pytest.skip(f"not run: {time_budget.SPENT}")
        self.judge()

    def judge(self) -> None:
        """Find the outcome."""
        raise NotImplementedError

    def left_out(self) -> Judged | Replayed:
        """The event that says that nobody came to it."""
        raise NotImplementedError

    @property
    def priority(self) -> int:
        """Where time is short, items with smaller numbers come first."""
        return time_budget.NORMAL

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the item is: nowhere in the host's files."""
        return self.config.rootpath, None, self.name


class ClauseItem(ConformanceItem):
    """``equivalence.step_logits[llama]``."""

    def __init__(self, *, item: Item, selection: Selection, **rest: Any) -> None:
        super().__init__(**rest)
        self.item, self.selection = item, selection

    @property
    def priority(self) -> int:
        """Cheap clauses that find much come first, and last those that need a process of their own."""
        return time_budget.priority(self.selection.clauses[self.item.clause])

    def left_out(self) -> Judged:
        """A cell that was not run."""
        return Judged(cell=Cell.of(self.item, State.NOT_RUN, time_budget.SPENT))

    def judge(self) -> None:
        """Search."""
        selected = self.selection
        self.cell = judge.judge(self.item, selected.budget, selected.known, selected.devices)
        self.event = encode(Judged(cell=self.cell))
        if self.cell.word == BROKEN:
            pytest.fail(f"{self.name}: broken harness\n{self.cell.reasons}", pytrace=False)

    def runtest(self) -> None:
        """Say the verdict in pytest's terms."""
        verdict, ends = self.cell.verdict, TABLE[self.cell.word].pytest
        if verdict and verdict.finding:
            pytest.fail(finding_text(verdict.finding), pytrace=False)
        if verdict and ends == "xfailed":
            pytest.xfail(f"known: {', '.join(verdict.known)}")
        if ends == "skipped":
            pytest.skip(self.cell.description)


class KnownItem(ConformanceItem):
    """``known[id]``: a known failure, which must still fail."""

    def __init__(self, *, entry: KnownFailure, selection: Selection, **rest: Any) -> None:
        super().__init__(**rest)
        self.entry, self.selection = entry, selection

    def left_out(self) -> Replayed:
        """A replay that was not run."""
        return judge.replayed(self.entry, "not run", time_budget.SPENT)

    def judge(self) -> None:
        """Replay the minimal Case."""
        self.replayed: Replayed = judge.replay(self.entry, self.selection.devices)
        self.event = encode(self.replayed)
        if self.replayed.state == BROKEN:
            pytest.fail(f"{self.name}: broken harness\n{self.replayed.why}", pytrace=False)

    def runtest(self) -> None:
        """Expected to fail, strictly."""
        if self.replayed.state == "mended":
            pytest.fail(
                f"[XPASS(strict)] {self.entry.id} is mended, remove the entry: {self.replayed.why}", pytrace=False
            )
        if self.replayed.state == "absent":
            pytest.skip(f"absent: {self.replayed.why}")
        pytest.xfail(f"{self.entry.function}: {self.entry.reason}")


def items(session: pytest.Session, selection: Selection) -> list[ConformanceItem]:
    """All items, by family; by priority where time is short."""
    found: list[ConformanceItem] = []
    for family in selection.families:
        for item in selection.items:
            if item.family == family:
                name = str(item)
                found.append(ClauseItem.from_parent(session, name=name, nodeid=name, item=item, selection=selection))
        for entry in selection.replays:
            if entry.case.family == family:
                name = f"known[{entry.id}]"
                found.append(KnownItem.from_parent(session, name=name, nodeid=name, entry=entry, selection=selection))
    return time_budget.by_priority(found)
