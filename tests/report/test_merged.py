"""Merging: many runs, one record. Whatever the order, the worst counts, and nothing incomplete is green."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Difference, Finding, Item, Verdict
from conformance.core.outcome import (
    BROKEN,
    CONFORMS,
    INCOMPLETE,
    KNOWN,
    NOT_RUN,
    PAIR_WORDS,
    TABLE,
    VIOLATES,
    WORDS,
    Blame,
    How,
    Outcome,
    State,
)
from conformance.report.merged import Merged, PairReport, merge_runs
from conformance.session.events import Footer, Header, Replay, Replayed, Run

pytestmark = pytest.mark.light

CLAUSES, FAMILIES = ("a.one", "a.two", "b.three"), ("gpt2", "llama")
METHODS = ("PREFIX_TUNING", "P_TUNING")
GREEN = {CONFORMS, KNOWN}
checked = settings(derandomize=True, database=None, deadline=None, max_examples=150)


def header(peft: str = "0.2", transformers: str = "5.1", **rest: object) -> Header:
    versions = {"peft": peft, "transformers": transformers, "torch": "2.13.0", "peft-conformance": "0.1.0"}
    base = {"versions": versions, "python": "3.11.7", "platform": "Linux", "profile": "quick", "examples": 3, "seed": 0}
    lists = {"families": FAMILIES, "clauses": CLAUSES, "methods": ("PREFIX_TUNING",), "known": None}
    return Header(**(base | lists | rest))  # type: ignore[arg-type]


def violation(item: Item, number: int) -> Finding:
    """One of several violations of an item, which are one kind."""
    return Finding(
        clause=item.clause,
        statement="It holds.",
        family=item.family,
        case=Case(family=item.family, seed=number, method=item.method),
        features=(),
        how=How.WRONG,
        difference=Difference(what="logits differ", got=str(number), expected="0"),
        blame=Blame.PEFT,
        versions={},
        where=f"peft/peft_model.py:{number} generate",
    )


def cell(name: str, clause: str = "a.one", family: str = "llama", number: int = 0, method: str = METHODS[0]) -> Cell:
    """A cell whose word is ``name``."""
    item = Item(clause, family, method)
    if name in [state.value for state in State]:
        return Cell.of(item, State(name), f"it is {name}")
    if name == BROKEN:
        return Cell.broken(item, "a bug of ours")
    known = {"an-entry": 3} if name == KNOWN else {}
    outcome = Outcome.VIOLATES if name == KNOWN else Outcome(name)
    finding = violation(item, number) if name == VIOLATES else None
    return Cell.judged(item, Verdict(outcome=outcome, counts={outcome.value: 3}, known=known, finding=finding))


def run(*cells: Cell, of: Header | None = None, code: int | None = 0, known: tuple[Replayed, ...] = ()) -> Run:
    """A run of these cells; without exit code it did not finish."""
    footer = None if code is None else Footer(exit_code=code, counts={}, seconds=1.0)  # type: ignore[arg-type]
    return Run(header=of or header(), cells=cells, known=known, footer=footer)


def only(merged: Merged) -> PairReport:
    (pair,) = merged.pairs
    return pair


CELLS = st.builds(
    cell,
    st.sampled_from(WORDS),
    st.sampled_from(CLAUSES),
    st.sampled_from(FAMILIES),
    st.integers(0, 3),
    st.sampled_from(METHODS),
)
HEADERS = st.builds(header, st.sampled_from(["0.2", "0.10"]), st.sampled_from(["4.9", "5.1"]))
REPLAYS = st.builds(
    Replayed,
    method=st.sampled_from(METHODS),
    id=st.sampled_from(["an-entry", "another"]),
    clause=st.just("a.one"),
    family=st.just("llama"),
    state=st.sampled_from(get_args(Replay)),
    reason=st.sampled_from(["", "this", "that"]),
    why=st.sampled_from(["", "so"]),
)
RUNS = st.builds(
    lambda cells, of, code, known: run(
        *{cell.item: cell for cell in cells}.values(), of=of, code=code, known=tuple(known)
    ),
    st.lists(CELLS, max_size=6),
    HEADERS,
    st.sampled_from([None, 0, 3, 5]),
    st.lists(REPLAYS, max_size=2),
)


@checked
@given(st.lists(RUNS, max_size=6).flatmap(lambda runs: st.tuples(st.just(runs), st.permutations(runs))))
def test_the_order_of_the_files_does_not_matter(both: tuple[list[Run], list[Run]]) -> None:
    assert merge_runs(both[0]) == merge_runs(both[1])


@checked
@given(st.lists(RUNS, max_size=5))
def test_a_file_that_is_given_twice_counts_once(runs: list[Run]) -> None:
    assert merge_runs([*runs, *runs]) == merge_runs(runs)


@checked
@given(st.lists(RUNS, max_size=5), RUNS)
def test_a_further_file_never_makes_a_result_better(runs: list[Run], more: Run) -> None:
    """What is not run is no result: it can only be replaced."""
    before, after = merge_runs(runs), merge_runs([*runs, more])
    for pair in before.pairs:
        now = after.pairs[after.places()[pair.pair]]
        for clause, letters in pair.rows.items():
            for family, letter in zip(before.subjects, letters, strict=True):
                new = now.rows[clause][after.subjects.index(family)] if now.rows else letter
                assert letter in (TABLE[NOT_RUN].letter, " ") or rank(new) <= rank(letter)


def rank(letter: str) -> int:
    return [TABLE[name].letter for name in WORDS].index(letter)


@checked
@given(st.lists(RUNS, max_size=5))
def test_nothing_is_green_that_is_incomplete(runs: list[Run]) -> None:
    merged = merge_runs(runs)
    items = {cell.item for of in runs for cell in of.cells if cell.state is not State.IMPOSSIBLE}
    for pair in merged.pairs:
        mine = [of for of in runs if of.header.versions["peft"] == pair.pair.peft]
        mine = [of for of in mine if of.header.versions["transformers"] == pair.pair.transformers]
        judged = {cell.item for of in mine for cell in of.cells if cell.state is State.JUDGED}
        if any(of.footer is None for of in mine):
            assert pair.word in (BROKEN, INCOMPLETE)
            assert not GREEN & set(pair.subjects)
        if pair.word in GREEN:
            decided = judged | {c.item for of in mine for c in of.cells if c.state is not State.NOT_RUN}
            assert items <= decided
            assert all(of.footer for of in mine)


@checked
@given(st.lists(RUNS, max_size=5))
def test_every_letter_is_counted(runs: list[Run]) -> None:
    for pair in merge_runs(runs).pairs:
        letters = "".join(pair.rows.values()).replace(" ", "")
        assert {
            name: letters.count(TABLE[name].letter) for name in WORDS if TABLE[name].letter in letters
        } == pair.counts


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["conforms", "conforms"], CONFORMS),
        (["conforms", "known"], KNOWN),
        (["conforms", "broken harness"], BROKEN),
        (["not run", "conforms"], CONFORMS),
        (["absent", "conforms"], CONFORMS),
        (["refused", "conforms"], CONFORMS),
        (["undecided", "refused"], "refused"),
    ],
)
def test_of_several_files_the_gravest_word_counts(words: list[str], expected: str) -> None:
    assert only(merge_runs([run(cell(name), code=0) for name in words])).word == expected


def test_files_that_differ_about_a_result_are_said_to() -> None:
    pair = only(merge_runs([run(cell(CONFORMS)), run(cell(KNOWN))]))
    assert pair.notes == (
        "its files disagree on 1 of 1 results, and the worst word counts: a.one[llama] (conforms and known)",
    )


def test_what_one_pair_has_and_another_has_not_is_not_run_there() -> None:
    whole = run(cell(CONFORMS), cell(CONFORMS, family="gpt2"))
    part = run(cell(CONFORMS), of=header("0.10"))
    newer, older = merge_runs([whole, part]).pairs
    assert (newer.pair.peft, newer.word, newer.rows) == ("0.10", INCOMPLETE, {"a.one": "-c"})
    assert newer.notes == ("1 of 2 results are missing from the files, for gpt2",)
    assert newer.subjects == {NOT_RUN: ("gpt2",), CONFORMS: ("llama",)}
    assert (older.word, older.notes) == (CONFORMS, ())


def test_another_method_is_a_column_of_its_own() -> None:
    """Nothing of it is counted as prefix tuning's, nor the other way round."""
    merged = merge_runs(
        [run(cell(VIOLATES), cell(CONFORMS, method="P_TUNING"), cell(CONFORMS, "a.two", method="P_TUNING"))]
    )
    pair = only(merged)
    assert merged.subjects == ("llama", "llama/P_TUNING")
    assert pair.rows == {"a.one": "Vc", "a.two": " c"}
    assert pair.subjects == {VIOLATES: ("llama",), CONFORMS: ("llama/P_TUNING",)}
    assert pair.counts == {VIOLATES: 1, CONFORMS: 2}
    assert pair.notes == ()


def test_a_method_that_one_pair_lacks_is_not_run_there() -> None:
    part = run(cell(CONFORMS), of=header("0.10"))
    newer, _ = merge_runs([part, run(cell(CONFORMS), cell(CONFORMS, method="P_TUNING"))]).pairs
    assert (newer.word, newer.rows) == (INCOMPLETE, {"a.one": "c-"})
    assert newer.notes == ("1 of 2 results are missing from the files, for llama/P_TUNING",)


@pytest.mark.parametrize("how", list(How))
def test_the_violations_of_two_methods_are_two(how: How) -> None:
    items = [Item("a.one", family, method) for method in METHODS for family in FAMILIES]
    findings = [replace(violation(item, 1), how=how) for item in items]
    cells = [Cell.judged(f.item, Verdict(outcome=Outcome.VIOLATES, finding=f)) for f in findings]
    merged = merge_runs([run(*cells)])
    assert [[str(place.item) for place in failure.at] for failure in merged.failures] == [
        ["a.one[gpt2]", "a.one[llama]"],
        ["a.one[gpt2/P_TUNING]", "a.one[llama/P_TUNING]"],
    ]


def test_the_reasons_of_two_methods_are_two() -> None:
    merged = merge_runs([run(cell("refused"), cell("refused", method="P_TUNING"))])
    assert [[place.item.subject for place in reason.at] for reason in merged.undecided] == [
        ["llama"],
        ["llama/P_TUNING"],
    ]


def test_parts_of_the_families_add_up() -> None:
    pair = only(merge_runs([run(cell(CONFORMS)), run(cell(CONFORMS, family="gpt2"))]))
    assert (pair.word, pair.rows, pair.notes) == (CONFORMS, {"a.one": "cc"}, ())


def test_a_run_that_left_items_out_is_not_green() -> None:
    pair = only(merge_runs([run(cell(CONFORMS), Cell.of(Item("a.two", "llama"), State.NOT_RUN, "the time was spent"))]))
    assert (pair.word, pair.subjects) == (INCOMPLETE, {INCOMPLETE: ("llama",)})


def test_a_run_without_footer_says_where_it_stopped() -> None:
    cut = replace(run(cell(CONFORMS), code=None), running=("a.two[llama]",))
    pair = only(merge_runs([cut]))
    assert (pair.word, pair.notes) == (INCOMPLETE, ("a run did not finish; it was judging a.two[llama]",))


def test_an_incomplete_run_beside_a_complete_one_is_not_forgotten() -> None:
    assert only(merge_runs([run(cell(CONFORMS)), run(cell(CONFORMS), code=None)])).word == INCOMPLETE


def test_a_header_alone_is_an_incomplete_run() -> None:
    assert only(merge_runs([run(code=None)])).word == INCOMPLETE
    assert only(merge_runs([run(code=5)])).word == NOT_RUN


def test_an_impossible_pair_has_a_reason_and_no_results() -> None:
    impossible = run(cell("impossible", "*", "*"), of=header("0.10"), code=5)
    first, second = merge_runs([impossible, run(cell(CONFORMS))]).pairs
    assert (first.word, first.why, first.rows, first.subjects) == ("impossible", ("it is impossible",), {}, {})
    assert (second.word, second.rows) == (CONFORMS, {"a.one": "c"})


def test_a_pair_that_one_file_calls_impossible_and_another_judged_is_contradictory() -> None:
    pair = only(merge_runs([run(cell("impossible"), code=5), run(cell(CONFORMS))]))
    assert pair.notes == ("one file calls the pair impossible, another has results",)


def test_headers_that_contradict_each_other_are_told() -> None:
    other = header(seed=1, python="3.12.1")
    merged = merge_runs([run(cell(CONFORMS)), run(cell(CONFORMS), of=other)])
    assert only(merged).notes == ("its files differ in python: 3.11.7 and 3.12.1", "its files differ in seed: 0 and 1")
    assert merged.notes == ("the files differ in seed: 0 and 1",)


def test_several_machines_are_no_contradiction() -> None:
    merged = merge_runs([run(cell(CONFORMS)), run(cell(CONFORMS), of=header(platform="Windows"))])
    assert only(merged).facts["platform"] == ("Linux", "Windows")
    assert (only(merged).notes, merged.notes) == ((), ())


@pytest.mark.parametrize("missing", ["peft", "transformers"])
def test_a_run_of_no_pair_is_refused(missing: str) -> None:
    of = header()
    versions = {name: release for name, release in of.versions.items() if name != missing}
    with pytest.raises(UserError, match=f"no version of {missing}") as caught:
        merge_runs([run(of=replace(of, versions=versions))])
    assert caught.value.code == "malformed-events"


def test_a_verdict_that_is_missing_is_refused() -> None:
    with pytest.raises(UserError, match=r"a\.one\[llama\] is called judged"):
        merge_runs([run(Cell.of(Item("a.one", "llama"), State.JUDGED))])


def test_every_word_has_a_letter_and_a_meaning() -> None:
    assert set(PAIR_WORDS) == set(TABLE)
    assert all(row.letter and row.meaning for row in TABLE.values())
    assert len({row.letter for row in TABLE.values()}) == len(TABLE)
    assert tuple(cell(name).word for name in WORDS) == WORDS


def test_known_files_of_one_name_and_other_contents_are_told_apart() -> None:
    runs = [
        run(of=header(transformers=release, known="known.toml", digests={"known.toml": digest, "mine.toml": digest}))
        for release, digest in (("5.1", "a" * 12), ("5.2", "b" * 12))
    ]
    assert merge_runs(runs).notes == (
        f"the files differ in known failures: known.toml ({'a' * 12}) and known.toml ({'b' * 12})",
        f"the files differ in family file mine.toml: {'a' * 12} and {'b' * 12}",
    )
