"""The Markdown: for the summary of a job, and for docs/versions.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.core.finding import Item
from conformance.core.pair import Pair
from conformance.report.failures import Place
from conformance.report.markdown import VIOLATIONS, escape, summary_page
from conformance.report.merged import Merged, merge_runs
from conformance.report.versions import versions_page
from conformance.session.reader import read_events

pytestmark = pytest.mark.light


@pytest.fixture
def matrix(golden: Path) -> Merged:
    """Nine recorded files of eight pairs."""
    return merge_runs(read_events(file) for file in (golden / "matrix").glob("*.jsonl"))


def test_the_summary_reads_exactly_like_this(matrix: Merged, golden: Path) -> None:
    assert summary_page(matrix) == (golden / "merged-summary.md").read_text("utf-8")


def test_the_table_of_versions_reads_exactly_like_this(matrix: Merged, golden: Path) -> None:
    assert versions_page(matrix) == (golden / "versions.md").read_text("utf-8")


@pytest.mark.parametrize("render", [summary_page, versions_page])
def test_nothing_at_all_can_be_told(render: Callable[[Merged], str]) -> None:
    assert "none of the pairs" in render(merge_runs([]))


def test_violations_are_bounded_and_what_is_left_out_is_said(matrix: Merged) -> None:
    many = replace(matrix, failures=matrix.failures * 50)
    text = summary_page(many)
    assert len(re.findall("^### ", text, re.MULTILINE)) == VIOLATIONS
    assert f"Left out: {150 - VIOLATIONS} more violations" in text


def test_a_summary_fits_into_the_limit_of_a_job_summary(matrix: Merged) -> None:
    long = "`|<" * 3000
    finding = replace(matrix.failures[0].finding, statement=long, family=long, where=long, sources=(long,))
    pairs = [replace(pair, notes=(long,), why=(long,)) for pair in matrix.pairs]
    pairs += [replace(pairs[0], pair=Pair(f"0.{n}", f"{m}.0")) for n in range(60) for m in range(200)]
    failures = [replace(matrix.failures[0], finding=replace(finding, clause=f"a.{n}")) for n in range(60)]
    grown = replace(matrix, pairs=tuple(pairs), failures=tuple(failures))
    for text in (summary_page(grown), versions_page(grown)):
        assert len(text.encode()) < 1_048_576
        assert "Left out, since the table would be too long: the last " in text


def test_a_line_that_repeats_a_violation_cannot_leave_its_fence(matrix: Merged) -> None:
    case = replace(matrix.failures[0].finding.case, family="````\n# gone")
    finding = replace(matrix.failures[0].finding, case=case)
    text = summary_page(replace(matrix, failures=(replace(matrix.failures[0], finding=finding),)))
    assert "\n`````\npeft-conformance replay " in text
    assert "\n# gone" not in text


@settings(derandomize=True, database=None, deadline=None)
@given(st.text(alphabet=st.sampled_from("a_*`|<>&[]~#$\\ \n"), max_size=40))
def test_whatever_is_escaped_is_one_line_without_a_mark(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)(\\\\)*[*`|<>&\[~#$]", re.sub(r"\\[\\*`|<>&\[~#$_]", "", escaped))
    assert re.sub(r"\\([\\*`|<>&\[~#$_])", r"\1", escaped) == " ".join(text.split())


@pytest.mark.parametrize("render", [summary_page, versions_page])
def test_every_value_is_escaped_wherever_it_stands(matrix: Merged, render: Callable[[Merged], str]) -> None:
    odd = "<b>*x*</b>|\n# y"
    finding, known = matrix.failures[0].finding, matrix.known[0]
    difference = replace(finding.difference, what=odd, got=odd, expected=odd)
    finding = replace(finding, clause=odd, statement=odd, family=odd, difference=difference, where=odd)
    at = (Place(0, Item(odd, odd)),)
    page = render(
        replace(
            matrix,
            pairs=tuple(replace(p, notes=(odd,), why=(odd,), subjects={"absent": (odd,)}) for p in matrix.pairs),
            subjects=(odd, *matrix.subjects[1:]),
            failures=(replace(matrix.failures[0], finding=finding, at=at),),
            undecided=tuple(replace(reason, text=odd, at=at) for reason in matrix.undecided),
            known=(replace(known, id=odd, function=odd, reason=odd, links=(odd,), why=(odd,), at=at),),
            notes=(odd,),
        )
    )
    text = re.sub(r"^(```+).*?^\1$", "", page, flags=re.DOTALL | re.MULTILINE)
    assert text.count(r"\<b\>\*x\*\</b\>\| \# y") > 8
    assert not any(mark in text for mark in ("<b>", "*x*", "</b>|", "\n# y"))


def test_another_method_is_named_beside_its_family(two_methods: Merged) -> None:
    assert two_methods.pairs[0].subjects["conforms"] == ("llama/P_TUNING",)
    families, chapters = versions_page(two_methods).partition("## Families")[2].split("## Chapters")
    assert "| 0.21.2 | 5.23.0 | llama/P_TUNING |  | llama | broken harness: qwen2; incomplete: t5 |" in families
    assert "| PEFT | transformers | equivalence | masks |" in chapters
    assert "| 0.21.2 | 5.23.0 | **llama, qwen2** | (llama) |" in chapters


def test_the_file_names_the_command_that_makes_it(matrix: Merged) -> None:
    assert "`peft-conformance report versions FILES... --out docs/versions.md`" in versions_page(matrix)
