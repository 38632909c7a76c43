"""How a verdict looks to pytest."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from conformance.session.reader import read_events

Consumer = Callable[..., pytest.RunResult]


def judge(*names: str, family: str = "llama") -> tuple[str, ...]:
    return ("--conformance-families", family, "--conformance-clauses", ",".join(f"miniature.{name}" for name in names))


def test_each_outcome_has_its_place(consumer: Consumer) -> None:
    every = judge("holds", "wrong", "crashes", "refused", "undecided", "beside_the_point", "broken")
    result = consumer(*every, "-rs")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=2, skipped=3, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED*refused: ValueError: prefix tuning needs a cache",
            "SKIPPED*undecided: closer than 10 times the error",
            "SKIPPED*not applicable: nothing slides",
            "*ERROR at setup of miniature.broken*",
            "*ZeroDivisionError: a bug of ours",
        ]
    )


def test_a_failure_shows_the_finding_and_no_traceback(consumer: Consumer) -> None:
    result = consumer(*judge("wrong"))
    result.stdout.fnmatch_lines(
        [
            "miniature.wrong?llama? is violated: wrong answer",
            "  It holds unless there are as many virtual tokens as text tokens.",
            "  case      Case(family='llama', *",
            "  expected  0.25",
            "  repeat    peft-conformance replay --clause miniature.wrong '{*}'",
        ]
    )
    result.stdout.no_fnmatch_line("*items.py*")


def test_a_known_violation_and_its_replay_are_expected_failures(consumer: Consumer) -> None:
    result = consumer(*judge("wrong"), "-rx", known="known.toml")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(xfailed=2)
    result.stdout.fnmatch_lines_random(
        ["XFAIL miniature.wrong*known: equal-lengths", "XFAIL known*peft.PeftModel.generate: it counts once too often"]
    )


def test_a_known_failure_does_not_hide_another(consumer: Consumer) -> None:
    result = consumer(*judge("wrong", "crashes"), known="known.toml")
    result.assert_outcomes(xfailed=2, failed=1)


def test_a_mended_failure_fails_strictly(consumer: Consumer) -> None:
    result = consumer(*judge("holds"), known="mended.toml")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*[[]XPASS(strict)[]] long-gone is mended, remove the entry: *conforms now*"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (judge("refused", "undecided", "beside_the_point"), "nothing at all was decided"),
        (judge("holds", family="t5"), "nothing at all was decided"),
        (judge("holds", family="llama,t5"), "nothing was decided in the family t5"),
        (judge("holds", "refused"), "miniature.refused?llama?: 0 of * examples decided, at least 60% expected*"),
    ],
)
def test_a_session_in_which_too_little_was_decided_fails_in_words(
    consumer: Consumer, arguments: tuple[str, ...], words: str
) -> None:
    result = consumer(*arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*conformance: less was tested than expected*", words])


def test_a_family_that_this_release_lacks_is_skipped(consumer: Consumer) -> None:
    result = consumer(*judge("holds", family="t5"), "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*absent: no such class"])


def test_x_stops_and_what_is_left_is_not_run(consumer: Consumer, pytester: pytest.Pytester) -> None:
    result = consumer(*judge("wrong", "crashes", "refused"), "-x", "--conformance-report", "events.jsonl")
    result.assert_outcomes(failed=1)
    run = read_events(pytester.path / "events.jsonl")
    assert run.footer is not None
    assert run.footer.counts == {"violates": 1, "not run": 2}
    assert run.footer.exit_code == 1


def test_an_ordinary_test_that_stops_the_run_leaves_an_incomplete_one(
    consumer: Consumer, pytester: pytest.Pytester
) -> None:
    """It is the second of three: the item before it conforms, the one behind it is not run."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(items):
            items.insert(1, items.pop(0))
        """
    )
    pytester.makepyfile(test_a="def test_fails():\n    assert False\n")
    consumer(*judge("holds", family="llama,gpt2"), "-x", "--conformance-report", "events.jsonl", "test_a.py")
    run = read_events(pytester.path / "events.jsonl")
    assert run.footer is not None
    assert [cell.word for cell in run.cells] == ["conforms", "not run"]
    assert (run.footer.exit_code, run.footer.partial) == (3, True)


def test_junit_has_one_case_per_item(consumer: Consumer, pytester: pytest.Pytester) -> None:
    consumer(*judge("holds", "wrong", "refused"), "--junitxml", "junit.xml")
    cases = list(ElementTree.parse(pytester.path / "junit.xml").iter("testcase"))
    kinds = {case.get("name"): [child.tag for child in case] for case in cases}
    assert kinds == {
        "miniature.holds[llama]": [],
        "miniature.wrong[llama]": ["failure"],
        "miniature.refused[llama]": ["skipped"],
    }


def test_warnings_that_the_host_turns_into_errors_decide_nothing(consumer: Consumer, pytester: pytest.Pytester) -> None:
    # The miniatures are imported before pytest starts, which an installed plugin is warned of.
    pytester.makeini("[pytest]\nfilterwarnings =\n    error\n    ignore::pytest.PytestAssertRewriteWarning\n")
    consumer(*judge("warns")).assert_outcomes(passed=1)
