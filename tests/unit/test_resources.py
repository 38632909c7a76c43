"""What a machine runs out of is no violation; what only sounds like it is one."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

import pytest
import torch

from conformance.clauses.registry import Clause
from conformance.core.case import Case
from conformance.core.outcome import Outcome
from conformance.core.signals import RunFailed
from conformance.engine.controls import confirm, run_clause
from conformance.runs import call_limit, resources
from conformance.runs.judged_code import guarded
from conformance.runs.lab import Lab
from conformance.runs.resources import Exhausted, disk_full, exhausted

CASE = Case(family="llama")


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def behind(cause: Exception) -> Exception:
    error = ValueError("the file is not an adapter")
    error.__cause__ = cause
    return error


def judged(error: Exception) -> Callable[[], None]:
    """Code of PEFT that raises ``error``."""
    scope: dict[str, object] = {"__name__": "peft.utils", "error": error}
    exec(compile("def fails():\n    raise error\n", "/lib/peft/utils.py", "exec"), scope)
    return scope["fails"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    "error",
    [
        *(os_error(n) for n in (errno.ENOSPC, errno.EMFILE, errno.ENOMEM, errno.EPIPE, errno.EIO)),
        MemoryError(),
        behind(os_error(errno.ENOSPC)),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("can't start new thread"),
    ],
)
def test_what_runs_out_is_nobodys_fault(error: Exception) -> None:
    def check(lab: object, case: Case) -> None:
        guarded("save_pretrained", judged(error))

    clause = Clause(id="a.b", statement="", explanation="", check=check)
    shown = run_clause(clause, Lab(), CASE)
    assert shown.outcome is Outcome.BROKEN
    assert shown.reason.startswith("this machine is at fault, nobody's code: save_pretrained ended with ")
    assert exhausted(error)


@pytest.mark.parametrize(
    "error",
    [
        os_error(errno.ENOENT),
        behind(os_error(errno.EACCES)),
        RuntimeError("shapes cannot be multiplied"),
        RuntimeError("No such file or directory (os error 2)"),
        ValueError("the memory of the model"),
    ],
)
def test_any_other_error_is_still_the_judged_codes(error: Exception) -> None:
    assert not exhausted(error)
    with pytest.raises(RunFailed):
        guarded("save_pretrained", judged(error))


def test_torch_that_is_refused_memory_is_recognized() -> None:
    with pytest.raises(Exhausted):
        guarded("generate", lambda: torch.empty(1 << 60))


def test_no_violation_is_believed_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(lab: object, case: Case) -> None:
        raise RunFailed("generate", KeyError("x"), "peft/x.py:1 f", refused=False)

    clause = Clause(id="a.b", statement="", explanation="", check=check)
    violated = run_clause(clause, Lab(), CASE)
    assert violated.outcome is Outcome.VIOLATES
    monkeypatch.setattr(resources, "LEAST_SPACE", 1 << 80)
    shown = confirm(clause, Lab(), violated)
    assert shown.outcome is Outcome.BROKEN
    assert "No space left on device" in shown.reason
    monkeypatch.undo()
    assert not disk_full()


def test_a_call_that_never_answers_is_a_crash_whatever_it_catches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_limit, "SECONDS", 0.2)
    monkeypatch.setattr(call_limit, "AGAIN", 0.1)
    scope: dict[str, object] = {"__name__": "peft.peft_model", "time": time}
    source = """
def hangs():
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass
"""
    exec(compile(source, "/lib/peft/peft_model.py", "exec"), scope)
    with pytest.raises(RunFailed) as failed:
        guarded("generate", scope["hangs"])  # type: ignore[arg-type]
    assert failed.value.words == "NeverAnswers: no answer in 0.2 s"
    assert failed.value.where.startswith("peft/peft_model.py:")
    assert not failed.value.refused
    assert guarded("generate", lambda: 3) == 3


def test_an_inner_call_has_no_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_limit, "SECONDS", 0.3)
    with pytest.raises(RunFailed, match=r"inner: NeverAnswers"):
        guarded("outer", lambda: [guarded("inner", lambda: time.sleep(0.2)) for _ in range(9)])
