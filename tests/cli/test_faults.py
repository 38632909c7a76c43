"""``peft-conformance faults``: the table, and an exit code that knows survivors."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from msgspec import Struct

from conformance import faults

Call = Callable[..., "tuple[int, str, str]"]


class Row(Struct):
    """One fault."""

    fault: str
    clauses: tuple[str, ...]
    median: int = 1


@pytest.mark.parametrize(("clauses", "code"), [(("a.b", "a.c"), 0), ((), 1)])
def test_a_survivor_exits_1(call: Call, monkeypatch: pytest.MonkeyPatch, clauses: tuple[str, ...], code: int) -> None:
    monkeypatch.setattr(faults, "table", lambda: [Row("cache_empty", clauses)], raising=False)
    exit_code, out, _ = call("faults")
    assert exit_code == code
    assert "cache_empty" in out
    assert ", ".join(clauses) in out
    exit_code, out, _ = call("faults", "--format", "json")
    assert json.loads(out) == [{"fault": "cache_empty", "clauses": list(clauses), "median": 1}]
