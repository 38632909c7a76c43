"""The items: one per clause x family, and one per known failure.

The search runs in ``setup`` so that a broken harness, raised there, is an *error*; ``runtest`` turns the verdict into a
pass, a failure, an expected failure or a skip.
"""

from __future__ import annotations

from typing import Any

import pytest

from conformance.clauses.registry import Clause
from conformance.core.finding import Outcome, encode
from conformance.engine.known import KnownFailure
from conformance.families import Family
from conformance.report import finding as findings
from conformance.session import judge as bench
from conformance.session import time_budget as hurry
from conformance.session.events import Judged, Replayed
from conformance.session.exit_codes import KNOWN, not_run, reasons, told, word
from conformance.session.selection import Selection


class ConformanceItem(pytest.Item):
    """Base of the items. ``event`` is the outcome as JSON, once there is one; ``reported``: it has left the process."""

    event: str | None = None
    reported = False

    def setup(self) -> None:
        """Judge, unless the requested time is spent; a broken harness is an error."""
        if hurry.spent():
            self.event = encode(self.left_out())
            pytest.skip(f"not run: {hurry.WHY}")
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


class ClauseItem(ConformanceItem):
    """``equivalence.step_logits[llama]``."""

    def __init__(self, *, clause: Clause, family: Family, selection: Selection, **rest: Any) -> None:
        super().__init__(**rest)
        self.clause, self.family, self.selection = clause, family, selection

    def left_out(self) -> Judged:
        """A cell that was not run."""
        return Judged(cell=not_run(self.clause.id, self.family.name, hurry.WHY))

    def judge(self) -> None:
        """Search."""
        selected = self.selection
        self.cell = bench.judge(self.clause, self.family, selected.budget, selected.known, selected.devices)
        self.event = encode(Judged(cell=self.cell))
        if word(self.cell) == Outcome.BROKEN.value:
            pytest.fail(f"{self.name}: broken harness\n{reasons(self.cell)}", pytrace=False)

    def runtest(self) -> None:
        """Say the verdict in pytest's terms."""
        said, verdict = word(self.cell), self.cell.verdict
        if verdict and verdict.finding:
            pytest.fail(findings.text(verdict.finding), pytrace=False)
        if verdict and said == KNOWN:
            pytest.xfail(f"known: {', '.join(verdict.known)}")
        if said != Outcome.CONFORMS.value:
            pytest.skip(told(self.cell))


class KnownItem(ConformanceItem):
    """``known[id]``: a known failure, which must still fail."""

    def __init__(self, *, entry: KnownFailure, selection: Selection, **rest: Any) -> None:
        super().__init__(**rest)
        self.entry, self.selection = entry, selection

    def left_out(self) -> Replayed:
        """A replay that was not run."""
        return bench.replayed(self.entry, "not run", hurry.WHY)

    def judge(self) -> None:
        """Replay the minimal Case."""
        clause, family = self.selection.clauses[self.entry.clause], self.selection.families[self.entry.case.family]
        self.replayed: Replayed = bench.replay(self.entry, clause, family, self.selection.devices)
        self.event = encode(self.replayed)
        if self.replayed.state == "broken harness":
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
    """Every item, ordered by family; a family's known failures come last, while its lab is warm."""
    found: list[ConformanceItem] = []
    for family in selection.families.values():
        for clause in selection.clauses.values():
            name = f"{clause.id}[{family.name}]"
            item = ClauseItem.from_parent(
                session, name=name, nodeid=name, clause=clause, family=family, selection=selection
            )
            found.append(item)
        for entry in selection.replays:
            if entry.case.family == family.name:
                name = f"known[{entry.id}]"
                found.append(KnownItem.from_parent(session, name=name, nodeid=name, entry=entry, selection=selection))
    return hurry.by_worth(found) if hurry.hurried() else found
