from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.clauses import clauses, registry, select
from conformance.clauses.registry import NOT_AMONG, Clause, precondition
from conformance.core.case import Case, Prefix, Row
from conformance.core.errors import UserError

pytestmark = pytest.mark.light

CASE = Case(family="llama")


@precondition(otherwise="There is only one row")
def two_rows(case: Case) -> bool:
    """Two rows.

    More words that nobody is shown.
    """
    return len(case.rows) > 1


@precondition(otherwise="The prefix has no length")
def length(case: Case) -> bool:
    """A prefix with a length"""
    return case.prefix.length > 0


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Clause:
    clauses()
    monkeypatch.setattr(registry, "_clauses", {})

    @registry.clause(sources=["peft#1"], requires=[length, two_rows], follow_ups=lambda case: (case, case), decisive=7)
    def claim(lab: object, case: Case) -> None:
        """It holds.

        Because it must.
        """

    return registry._clauses["test_registry.claim"]


def test_a_docstring_becomes_statement_and_explanation(made: Clause) -> None:
    assert (made.statement, made.explanation) == ("It holds.", "Because it must.")
    assert (made.id, made.chapter, made.sources, made.decisive) == (
        "test_registry.claim",
        "test_registry",
        ("peft#1",),
        7,
    )


def test_what_a_case_lacks_is_told_in_words(made: Clause) -> None:
    assert made.missing(CASE) == "There is only one row"
    assert made.missing(Case(family="llama", prefix=Prefix(length=0))) == "The prefix has no length"
    assert made.missing(Case(family="llama", rows=(Row(), Row()))) == ""


def test_one_of_so_many_cases_is_judged_as_its_seeds_decide(made: Clause) -> None:
    dear, seeds = replace(made, one_in=3, requires=()), [(seed, other) for seed in range(3) for other in range(3)]
    missing = [dear.missing(Case(family="llama", seed=seed, prefix=Prefix(seed=other))) for seed, other in seeds]
    assert [seed for seed, why in zip(seeds, missing, strict=True) if not why] == [(0, 0), (1, 2), (2, 1)]
    assert set(missing) == {"", "It is not among the few Cases for which models of their own are built"}


def test_that_a_case_is_not_among_the_few_is_said_before_what_it_lacks(made: Clause) -> None:
    dear, another = replace(made, one_in=3), Case(family="llama", seed=1)
    assert (made.missing(another), dear.missing(another)) == ("There is only one row", NOT_AMONG)
    assert dear.missing(CASE) == "There is only one row"


def test_a_clause_says_of_how_many_cases_one_is_judged(made: Clause) -> None:
    @registry.clause(one_in=3)
    def dear(lab: object, case: Case) -> None:
        """It holds, of models of its own."""

    assert (made.one_in, registry._clauses["test_registry.dear"].one_in) == (1, 3)


def test_a_precondition_says_the_need_and_what_is_otherwise(made: Clause) -> None:
    assert [(one.need, one.otherwise) for one in made.requires] == [
        ("A prefix with a length", "The prefix has no length"),
        ("Two rows", "There is only one row"),
    ]


def test_two_clauses_of_one_id_are_refused(made: Clause) -> None:
    def claim(lab: object, case: Case) -> None:
        """It holds, too."""

    with pytest.raises(UserError, match=r"^duplicate-clause: there are two clauses called 'test_registry.claim'"):
        registry.clause()(claim)
    assert registry._clauses["test_registry.claim"] is made


@pytest.mark.usefixtures("made")
def test_a_clause_without_a_statement_is_refused() -> None:
    def silent(lab: object, case: Case) -> None:
        pass

    with pytest.raises(UserError, match=r"^missing-statement: the clause 'silent' has no docstring"):
        registry.clause()(silent)
    assert "test_registry.silent" not in registry._clauses


def test_follow_up_cases_are_judged_in_the_place_of_the_drawn_one(made: Clause) -> None:
    assert made.cases(CASE) == (CASE, CASE)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["masks.row_order"], {"masks.row_order"}),
        (["*.row_order", "positions.fit_*"], {"masks.row_order", "positions.fit_the_table"}),
        (["decoding"], {"decoding.repeatable"}),
        (["decoding", "decoding.*"], {"decoding.repeatable"}),
    ],
)
def test_clauses_are_selected_by_id_chapter_or_glob(patterns: list[str], expected: set[str]) -> None:
    found = set(select(patterns))
    assert expected <= found
    assert {id.partition(".")[0] for id in found} == {id.partition(".")[0] for id in expected}
    assert found == expected or patterns[0].startswith("decoding")


def test_no_pattern_selects_all() -> None:
    assert select([]) == clauses()


@pytest.mark.parametrize("pattern", ["masks.row_ordr", "mask", "nothing.*", ""])
def test_a_pattern_that_selects_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UserError, match=r"^unknown-clause: "):
        select(["masks", pattern])


def test_a_misspelt_clause_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"did you mean 'masks\.row_order'"):
        select(["masks.row_ordr"])


@pytest.mark.parametrize("found", clauses().values(), ids=lambda clause: str(clause.id))
def test_every_clause_is_what_its_function_says(found: Clause) -> None:
    module = importlib.import_module(found.check.__module__)
    assert Path(str(module.__file__)).stem == found.chapter
    assert getattr(module, found.check.__name__) is found.check
    assert re.fullmatch(r"[A-Z].*\.", found.statement), found.statement
    assert found.sources or "Our own claim: " in found.explanation
    for source in found.sources:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+|arXiv:\d{4}\.\d{5}|https://huggingface\.co/docs/\S+", source), source
    assert all(re.fullmatch(r"[A-Z].*[^.]", words) for one in found.requires for words in (one.need, one.otherwise))
