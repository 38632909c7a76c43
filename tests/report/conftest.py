"""A run with one cell of each kind, written down by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Row
from conformance.core.finding import Cell, Difference, Finding, Item, Verdict
from conformance.core.outcome import Blame, How, Outcome, State
from conformance.report.merged import Merged, merge_runs
from conformance.report.nights import Night, NightlyViolation, Stack
from conformance.session.events import Footer, Header, Replayed, Run

VERSIONS = {"python": "3.11.7", "peft": "0.21.2", "transformers": "5.23.0", "torch": "2.13.0"}


@pytest.fixture
def golden() -> Path:
    """The folder of exact outputs."""
    return Path(__file__).parents[1] / "golden"


@pytest.fixture
def finding() -> Finding:
    """A wrong answer."""
    return Finding(
        clause="equivalence.step_logits",
        statement="The logits of every step agree with the manual forward over the prefix cache.",
        family="llama",
        case=Case(family="llama", prefix=Prefix(length=2), rows=(Row(length=2), Row(length=1, seed=3))),
        features=("left_padded", "n_equals_prompt"),
        how=How.WRONG,
        difference=Difference(what="logits differ", got="0.5", expected="0.25", row=1, step=3, margin=0.25, error=1e-5),
        blame=Blame.PEFT,
        versions=VERSIONS,
        sources=("huggingface/peft#2134", "arXiv:2101.00190"),
        where="peft/peft_model.py:2100 prepare_inputs_for_generation",
        note="only the second row,\nwhich is padded",
    )


def judged(clause: str, family: str, outcome: Outcome, **rest: object) -> Cell:
    verdict = Verdict(outcome=outcome, counts={outcome.value: 24}, **rest)  # type: ignore[arg-type]
    return Cell.judged(Item(clause, family), verdict)


@pytest.fixture
def two_methods(run: Run) -> Merged:
    """That run with one family also judged with another method, which conforms where prefix tuning does not."""
    items = [Item(clause, "llama", "P_TUNING") for clause in run.header.clauses]
    others = [Cell.judged(item, Verdict(outcome=Outcome.CONFORMS, decisive=24)) for item in items]
    return merge_runs([replace(run, cells=(*run.cells, *others))])


@pytest.fixture
def run(finding: Finding) -> Run:
    """A finished run in which everything happened."""
    other = Finding(**{name: getattr(finding, name) for name in finding.__struct_fields__} | {"family": "qwen2"})
    base = Finding(
        **{name: getattr(finding, name) for name in finding.__struct_fields__} | {"blame": Blame.TRANSFORMERS}
    )
    cells = (
        judged("equivalence.step_logits", "llama", Outcome.VIOLATES, finding=finding),
        judged("equivalence.greedy_tokens", "llama", Outcome.CONFORMS, decisive=24),
        judged("masks.rows_alone", "llama", Outcome.VIOLATES, known={"short-mask": 24}),
        judged("equivalence.step_logits", "qwen2", Outcome.VIOLATES, finding=other),
        judged(
            "equivalence.greedy_tokens",
            "qwen2",
            Outcome.NOT_APPLICABLE,
            reasons={"nothing slides": 24},
            evidence=(base,),
        ),
        Cell.broken(Item("masks.rows_alone", "qwen2"), "Traceback:\nZeroDivisionError: a bug of ours"),
        Cell.of(Item("equivalence.step_logits", "t5"), State.ABSENT, "transformers 4.38 has no T5"),
        Cell.of(Item("equivalence.greedy_tokens", "t5"), State.NOT_RUN, "the run was stopped before its turn"),
        judged("masks.rows_alone", "t5", Outcome.REFUSED, reasons={"refused: ValueError: needs a cache": 24}),
    )
    known = (
        Replayed(
            id="short-mask",
            clause="masks.rows_alone",
            family="llama",
            state="still fails",
            function="peft.PeftModel.generate",
            reason="the mask is one short",
            links=("huggingface/peft#1",),
        ),
        Replayed(id="old", clause="masks.rows_alone", family="t5", state="mended", why="its Case conforms now"),
    )
    header = Header(
        versions=VERSIONS,
        python="3.11.7",
        platform="Linux",
        profile="quick",
        examples=3,
        seed=0,
        families=("llama", "qwen2", "t5"),
        clauses=("equivalence.step_logits", "equivalence.greedy_tokens", "masks.rows_alone"),
        methods=("PREFIX_TUNING",),
        known="known_failures.toml",
    )
    counts = dict.fromkeys(("broken harness", "known", "conforms", "refused", "not applicable", "absent", "not run"), 1)
    replays = {"known failure still fails": 1, "known failure mended": 1}
    footer = Footer(exit_code=3, counts={**counts, "violates": 2, **replays}, seconds=12.25)
    items = (*(str(cell.item) for cell in cells), *(replay.item for replay in known))
    return Run(header=replace(header, items=items), cells=cells, known=known, footer=footer)


@pytest.fixture
def night() -> Callable[..., Night]:
    """Makes a night of these stacks."""

    def made(*stacks: Stack, run: str = "1") -> Night:
        return Night(run=run, link=f"https://example.org/{run}", stacks=stacks)

    return made


@pytest.fixture(name="judged")
def judged_stack() -> Callable[..., Stack]:
    """Makes a stack in which the items ``violated`` are, and ``words`` say how others fared."""

    def made(name: str, code: int | None = 0, *, violated: str = "", **words: str) -> Stack:
        wrong = NightlyViolation(how="wrong answer", repeat="peft-conformance replay it")
        violations = dict.fromkeys(violated.split(), wrong)
        known = {**dict.fromkeys(violations, "violates"), **words}
        return Stack(name=name, code=code, words=known, violations=violations)

    return made
