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
    """Base of the items. ``event`` is the outcome as JSON, once there is one; ``reported``: it has left the process.

    Where time is short, items of a smaller ``priority`` come first.
    """

    family: str
    event: str | None = None
    reported = False
    priority = time_budget.NORMAL

    def __init__(self, *, name: str, selection: Selection, **rest: Any) -> None:
        super().__init__(name, nodeid=name, **rest)
        self.selection = selection

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

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the item is: nowhere in the host's files."""
        return self.config.rootpath, None, self.name

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Of what is expected to fail the reason says all; a traceback would show this file, and costs its parsing."""
        if isinstance(excinfo.value, pytest.xfail.Exception):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class ClauseItem(ConformanceItem):
    """``equivalence.step_logits[llama]``."""

    def __init__(self, *, item: Item, **rest: Any) -> None:
        super().__init__(**rest)
        self.item, self.family = item, item.family
        self.priority = time_budget.priority(self.selection.clauses[item.clause])

    def left_out(self) -> Judged:
        """A cell that was not run."""
        return Judged(cell=Cell.of(self.item, State.NOT_RUN, time_budget.SPENT))

    def judge(self) -> None:
        """Search."""
        selected = self.selection
        self.cell = judge.judge_item(
            self.item, selected.budget, selected.known, selected.devices, mended=selected.mended
        )
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

    def __init__(self, *, entry: KnownFailure, **rest: Any) -> None:
        super().__init__(**rest)
        self.entry, self.family = entry, entry.case.family

    def left_out(self) -> Replayed:
        """A replay that was not run."""
        return judge.replayed(self.entry, "not run", time_budget.SPENT)

    def judge(self) -> None:
        """Replay the minimal Case."""
        self.replayed: Replayed = judge.replay_known(self.entry, self.selection.known, self.selection.devices)
        self.event = encode(self.replayed)
        if self.replayed.state == BROKEN:
            pytest.fail(f"{self.name}: broken harness\n{self.replayed.why}", pytrace=False)

    def runtest(self) -> None:
        """Expected to fail, strictly."""
        if self.replayed.state == "mended":
            pytest.fail(
                f"[XPASS(strict)] {self.entry.id} is mended, remove the entry: {self.replayed.why}", pytrace=False
            )
        if self.replayed.state == "not explained":
            pytest.fail(f"{self.entry.id} does not explain its own Case: {self.replayed.why}", pytrace=False)
        if self.replayed.state in ("absent", "undecided"):
            pytest.skip(f"{self.replayed.state}: {self.replayed.why}")
        pytest.xfail(f"{self.entry.function}: {self.entry.reason}")


def collected_items(session: pytest.Session, selection: Selection) -> list[ConformanceItem]:
    """All items, by family; by priority where time is short."""
    made: list[ConformanceItem] = []
    for item in selection.items:
        made.append(ClauseItem.from_parent(session, name=str(item), selection=selection, item=item))
    for entry in selection.replays:
        made.append(KnownItem.from_parent(session, name=f"known[{entry.id}]", selection=selection, entry=entry))
    order = list(selection.families)
    return time_budget.by_priority(sorted(made, key=lambda each: order.index(each.family)))
