"""Mends come into force together, beside planted faults, in other processes, and never pass for what is judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from conformance import mends
from conformance.core.signals import RunFailed
from conformance.faults.registry import FOUND_BY
from conformance.mends import in_force, mended, mended_maker
from conformance.runs import judged_code
from conformance.runs.makers import MAKERS
from conformance.runs.patching import around

entered: list[str] = []


@contextmanager
def one() -> Iterator[None]:
    entered.append("one")
    yield
    entered.append("one ends")


@contextmanager
def other() -> Iterator[None]:
    entered.append("other")
    yield
    entered.append("other ends")


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    entered.clear()
    monkeypatch.setattr(mends, "one", one, raising=False)
    monkeypatch.setattr(mends, "other", other, raising=False)


def test_each_mend_is_in_force_once_and_one_inside_the_other() -> None:
    with in_force({"a": "conformance.mends:one", "b": "conformance.mends:other", "c": "conformance.mends:one"}):
        entered.append("run")
    assert entered == ["one", "other", "run", "other ends", "one ends"]


def test_another_process_finds_a_maker_with_its_fault_and_its_mends() -> None:
    faulty = type("Faulty", (MAKERS["peft"],), {"maker": "peft+peft_bool_mask_inverted", "found_by": FOUND_BY})
    maker = mended(faulty, {"a": "conformance.mends:one", "b": "conformance.mends:other"}, ("a", "b"))
    assert (maker.found_by, maker.mended) == ("conformance.mends:mended_maker", ("a", "b"))
    with mended_maker(maker.maker) as found:
        assert found.maker == "peft+peft_bool_mask_inverted"
        assert entered == ["one", "other"]


def test_what_is_wrong_with_a_mend_is_no_crash_of_what_is_judged() -> None:
    """A mend stands between two functions of PEFT, so the traceback goes through PEFT."""
    judged: dict[str, Any] = {"__name__": "peft.peft_model"}
    exec("def outer(inner):\n    return inner()", judged)
    namespace: dict[str, Any] = {"__name__": "conformance.mends.caches"}
    exec("def mend():\n    raise KeyError('a bug of ours')\n\n\ndef passes(call):\n    return call()", namespace)
    with pytest.raises(KeyError):
        judged_code.guarded("generate", lambda: judged["outer"](namespace["mend"]))

    exec("def inner():\n    raise KeyError('a bug of theirs')", judged)
    with pytest.raises(RunFailed):
        judged_code.guarded("generate", lambda: judged["outer"](lambda: namespace["passes"](judged["inner"])))


def test_a_function_is_replaced_for_the_length_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = SimpleNamespace(double=lambda number: 2 * number)
    monkeypatch.setattr(mends, "owner", owner, raising=False)
    with around("conformance.mends:owner", "double", lambda original, number: original(number) + 1):
        assert owner.double(2) == 5
    assert owner.double(2) == 4
