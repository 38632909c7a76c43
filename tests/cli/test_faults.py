"""``peft-conformance faults``: the table, and an exit code that knows survivors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import msgspec
import pytest

from conformance import faults
from conformance.faults import Detection

Call = Callable[..., "tuple[int, str, str]"]


def detection(clauses: tuple[str, ...], fired: bool = True) -> Detection:
    return Detection(
        fault="cache_empty",
        statement="The cache is empty.",
        clause="a.b",
        family="llama",
        method="PREFIX_TUNING",
        clauses=clauses,
        examples_median=1.5 if clauses else None,
        examples_worst=7 if clauses else None,
        fired=fired,
        cpu_seconds=0.25,
    )


def planted(monkeypatch: pytest.MonkeyPatch, found: Detection) -> list[tuple[list[str], int]]:
    asked: list[tuple[list[str], int]] = []

    def detections(ids: Iterable[str], seeds: int) -> list[Detection]:
        asked.append((list(ids), seeds))
        return [found]

    monkeypatch.setattr(faults, "detections", detections)
    return asked


@pytest.mark.parametrize(
    ("found", "code", "shown"),
    [
        (detection(("a.c", "a.b")), 0, ["a.b", "a.c", "1.5", "7", "0.25"]),
        (detection(("a.c",)), 0, ["not a.b", "a.c"]),
        (detection(()), 1, ["nobody: it survives", "-"]),
        (detection((), fired=False), 1, ["nobody: it never took effect"]),
    ],
)
def test_a_survivor_exits_1(
    call: Call, monkeypatch: pytest.MonkeyPatch, found: Detection, code: int, shown: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    planted(monkeypatch, found)
    exit_code, out, _ = call("faults")
    assert exit_code == code
    assert "cache_empty" in out
    assert all(text in out for text in shown)


@pytest.mark.parametrize(("clauses", "code"), [(("a.b",), 0), ((), 1)])
def test_json_has_every_column(
    call: Call, monkeypatch: pytest.MonkeyPatch, clauses: tuple[str, ...], code: int
) -> None:
    planted(monkeypatch, detection(clauses))
    exit_code, out, _ = call("faults", "--format", "json")
    assert exit_code == code
    assert json.loads(out) == [json.loads(msgspec.json.encode(detection(clauses)))]


def test_faults_and_seeds_can_be_chosen(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = planted(monkeypatch, detection(("a.b",)))
    call("faults", "cache_empty", "stale_prompt", "--seeds", "3")
    assert asked == [(["cache_empty", "stale_prompt"], 3)]


def test_an_unknown_fault_is_the_callers_mistake(call: Call) -> None:
    exit_code, out, err = call("faults", "cache_emty_in_generate")
    assert exit_code == 2
    assert not out
    assert "cache_empty_in_generate" in err
