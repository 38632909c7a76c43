"""The Markdown: for the summary of a job, and for docs/versions.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.report.markdown import VIOLATIONS, escape, summary
from conformance.report.merged import Merged, merge
from conformance.report.versions import versions
from conformance.session.events import read


@pytest.fixture
def matrix(golden: Path) -> Merged:
    """Nine recorded files of eight pairs."""
    return merge(read(file) for file in (golden / "matrix").glob("*.jsonl"))


def test_the_summary_reads_exactly_like_this(matrix: Merged, golden: Path) -> None:
    assert summary(matrix) == (golden / "merged-summary.md").read_text("utf-8")


def test_the_table_of_versions_reads_exactly_like_this(matrix: Merged, golden: Path) -> None:
    assert versions(matrix) == (golden / "versions.md").read_text("utf-8")


@pytest.mark.parametrize("render", [summary, versions])
def test_nothing_at_all_can_be_told(render: Callable[[Merged], str]) -> None:
    assert "no pair does" in render(merge([]))


def test_violations_are_bounded_and_what_is_left_out_is_said(matrix: Merged) -> None:
    many = replace(matrix, failures=matrix.failures * 50)
    text = summary(many)
    assert len(re.findall("^### ", text, re.MULTILINE)) == VIOLATIONS
    assert f"Left out: {150 - VIOLATIONS} more violations" in text


def test_a_summary_fits_into_the_limit_of_a_job_summary(matrix: Merged) -> None:
    long = "`|<" * 3000
    finding = replace(matrix.failures[0].finding, statement=long, family=long, where=long, sources=(long,))
    pairs = [replace(pair, notes=(long,), why=(long,)) for pair in matrix.pairs]
    pairs += [replace(pairs[0], peft=f"0.{n}", transformers=f"{m}.0") for n in range(60) for m in range(200)]
    failures = [replace(matrix.failures[0], finding=replace(finding, clause=f"a.{n}")) for n in range(60)]
    grown = replace(matrix, pairs=tuple(pairs), failures=tuple(failures))
    for text in (summary(grown), versions(grown)):
        assert len(text.encode()) < 1_048_576
        assert "Left out, since the table would be too long: the last " in text


def test_a_line_that_repeats_a_violation_cannot_leave_its_fence(matrix: Merged) -> None:
    case = replace(matrix.failures[0].finding.case, family="````\n# gone")
    finding = replace(matrix.failures[0].finding, case=case)
    text = summary(replace(matrix, failures=(replace(matrix.failures[0], finding=finding),)))
    assert "\n`````\npeft-conformance replay " in text
    assert "\n# gone" not in text


@settings(derandomize=True, database=None, deadline=None)
@given(st.text(alphabet=st.sampled_from("a_*`|<>&[]~#$\\ \n"), max_size=40))
def test_whatever_is_escaped_is_one_line_without_a_mark(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)(\\\\)*[*`|<>&\[~#$]", re.sub(r"\\[\\*`|<>&\[~#$_]", "", escaped))
    assert re.sub(r"\\([\\*`|<>&\[~#$_])", r"\1", escaped) == " ".join(text.split())


def test_the_file_names_the_command_that_makes_it(matrix: Merged) -> None:
    assert "`peft-conformance report versions FILES... --out docs/versions.md`" in versions(matrix)
