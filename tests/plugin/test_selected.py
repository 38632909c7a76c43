"""The events say what was really selected, and end as they should whoever stopped the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.session.reader import read_events

Consumer = Callable[..., pytest.RunResult]
SOME = ("--conformance-families", "llama,gpt2", "--conformance-clauses", "miniature.holds,miniature.refused")
REPORT = ("--conformance-report", "events.jsonl")


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_the_header_names_what_k_left(consumer: Consumer, pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    if workers:
        pytest.importorskip("xdist")
    consumer(*SOME, *REPORT, "-k", "holds and gpt2", *workers).assert_outcomes(passed=1)
    run = read_events(pytester.path / "events.jsonl")
    assert run.header.items == ("miniature.holds[gpt2]",)
    assert (run.header.families, run.header.clauses) == (("gpt2",), ("miniature.holds",))
    assert run.footer
    assert run.footer.exit_code == 0


def test_a_stop_for_somebody_elses_failure_leaves_the_run_incomplete(
    consumer: Consumer, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("def pytest_collection_modifyitems(items):\n    items.insert(1, items.pop(0))\n")
    pytester.makepyfile(test_host="def test_of_the_host():\n    assert False\n")
    result = consumer(*SOME, *REPORT, "-x", "-p", "no:randomly", "test_host.py")
    assert result.ret == 1
    run = read_events(pytester.path / "events.jsonl")
    assert run.footer
    assert run.footer.counts["not run"] >= 2
    assert run.footer.exit_code == 3


def test_a_report_that_cannot_be_written_to_the_end_is_said_and_costs_no_verdict(consumer: Consumer) -> None:
    result = consumer(*SOME, "--conformance-report", "/dev/full")
    result.assert_outcomes(passed=2, skipped=2)
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    said = "conformance: the events could not be written to the end: No space left on device"
    assert result.outlines.count(said) == 1
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
