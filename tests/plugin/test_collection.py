"""What ``pytest --conformance`` collects, in which order, and how it is chosen from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Consumer = Callable[..., pytest.RunResult]
TWO = ("--conformance-families", "llama,gpt2", "--conformance-clauses", "miniature.holds,miniature.wrong")


def listed(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line or "[" in line]


def test_the_items_are_named_clause_and_family_and_ordered_by_family(consumer: Consumer) -> None:
    result = consumer("--collect-only", "-q", *TWO, known="known.toml")
    assert listed(result) == [
        "miniature.holds[llama]",
        "miniature.wrong[llama]",
        "known[equal-lengths]",
        "miniature.holds[gpt2]",
        "miniature.wrong[gpt2]",
    ]
    result.stdout.fnmatch_lines(["5 tests collected*"])


def test_the_tests_of_the_host_are_left_out_unless_a_path_is_given(consumer: Consumer) -> None:
    result = consumer("--collect-only", "-q", *TWO, "test_host.py")
    assert listed(result)[0] == "test_host.py::test_of_the_host"
    assert len(listed(result)) == 5


def test_testpaths_of_the_host_are_no_given_path(consumer: Consumer, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntestpaths = .\n")
    assert len(listed(consumer("--collect-only", "-q", *TWO))) == 4


def test_k_chooses_among_the_items(consumer: Consumer) -> None:
    result = consumer("--collect-only", "-q", "-k", "wrong and gpt2", *TWO)
    assert listed(result) == ["miniature.wrong[gpt2]"]


def test_a_known_failure_is_replayed_only_with_its_own_clause_and_family(consumer: Consumer) -> None:
    result = consumer("--collect-only", "-q", *TWO, "--conformance-families", "gpt2", known="known.toml")
    assert "known[equal-lengths]" not in listed(result)


def test_one_header_line_says_what_is_judged(consumer: Consumer) -> None:
    result = consumer("--collect-only", *TWO, "--conformance-profile", "standard", "--conformance-seed", "7")
    lines = [line for line in result.outlines if line.startswith("conformance:")]
    assert len(lines) == 1
    assert "judging peft " in lines[0]
    assert " x transformers " in lines[0]
    assert "standard profile (4 examples of each pair of classes, seed 7)" in lines[0]


def test_collect_only_writes_no_events(consumer: Consumer, pytester: pytest.Pytester) -> None:
    consumer("--collect-only", *TWO, "--conformance-report", "events.jsonl")
    assert not (pytester.path / "events.jsonl").exists()
